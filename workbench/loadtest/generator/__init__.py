"""The load generator: a process of its own that sends requests when they are due and records their ends."""
