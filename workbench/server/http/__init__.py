"""HTTP/1.1: the protocol on the socket, the table of routes, and what each route answers."""
