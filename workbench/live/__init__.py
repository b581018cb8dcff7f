"""What a page or a notebook shows of a running service: followed, its figures kept for some minutes, and told."""
