"""Load tests: a generator in a process of its own, the rows it gives, and what is folded from them."""
