"""What a notebook user touches: the `%infer` magic and its completion."""
