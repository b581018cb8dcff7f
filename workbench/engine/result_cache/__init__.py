"""Keeps answers of a model and gives them to equal requests: keys, what is kept, equal requests at once, and whether it
pays. Off unless a model's settings ask for it."""
