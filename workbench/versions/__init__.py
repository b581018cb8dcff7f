"""Which versions of a model are loaded, and which of them answers a request: pure decisions over frozen values."""
