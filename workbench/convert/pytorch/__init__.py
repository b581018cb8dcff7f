"""Converts torch modules."""
