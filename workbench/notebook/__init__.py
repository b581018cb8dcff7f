"""The notebook's user interface: the `%infer` magic, its completion, and widgets."""
