"""Who did what to the service, and from where."""
