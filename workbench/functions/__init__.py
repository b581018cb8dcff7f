"""Serves Python functions from their source: the bundle that holds one, and the processes that run it."""
