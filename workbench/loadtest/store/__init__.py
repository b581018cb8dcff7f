"""Finished requests as columns, the run they make up, and the history of runs on disk."""
