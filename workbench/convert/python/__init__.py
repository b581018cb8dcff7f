"""Serves Python functions and objects from their source."""
