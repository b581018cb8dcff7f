"""The server side of HTTP/2 (RFC 9113), as far as gRPC needs it: no server push, no upgrade from HTTP/1.1."""
