"""Clients of a service: the asyncio client, blocking calls, input values and results. Never loads onnxruntime."""
