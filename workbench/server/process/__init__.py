"""The supervisor process and what it shares with its worker. Light: no numpy, no web server, no onnxruntime."""
