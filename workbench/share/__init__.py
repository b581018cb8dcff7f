"""Shares: what a teammate is given of a model, and how it is called."""
