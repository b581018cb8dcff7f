"""Converts transformers models and pipelines, and folders in the hub's layout."""
