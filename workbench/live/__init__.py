"""Follows a running service, keeps its figures of some minutes, and sends them to pages and notebooks."""
