"""Talking to a service: the asyncio client, its blocking face, values in and results out. Never loads onnxruntime."""
