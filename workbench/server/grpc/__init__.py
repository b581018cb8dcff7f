"""gRPC over our HTTP/2: framing, the table of methods, and what each method answers."""
