"""Models served in this process: load, route, batch, run. Knows numpy and sessions, no transport.

engine = Engine(ModelStore(folder))
await engine.start()
await engine.load("digits", Path("digits.onnx"))
await engine.infer(InferRequest(model="digits", inputs={"x": x}))
await engine.close()
"""

from workbench.engine.engine import Engine
from workbench.engine.model_changes import LoadResult

__all__ = ["Engine", "LoadResult"]
