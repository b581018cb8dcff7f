"""What runs in a function's process. It imports the standard library, numpy and itself, and nothing at other times."""
