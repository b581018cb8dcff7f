"""HTTP/2 (RFC 9113) from a server's side, as gRPC needs it: no requests for pages, no push, no upgrade."""
