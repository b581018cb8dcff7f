"""Defines the types that all rooms share: tensors, messages, models, Protocols. Needs numpy and stdlib only."""
