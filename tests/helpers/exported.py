"""An estimator's export, run by ONNX Runtime in this process."""

from __future__ import annotations

from typing import Any

import onnxruntime

from workbench.convert.scikit.sklearn_export import export


def answers_of_export(estimator: Any, rows: Any) -> list[Any]:
    """The outputs, in order, of the export for `rows`: an array, or a DataFrame whose columns are the inputs."""
    proto = export(estimator, "it", rows)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    if len(names) == 1:
        double = session.get_inputs()[0].type == "tensor(double)"
        return list(session.run(None, {names[0]: rows.astype(float) if double else rows}))
    texts = {each.name for each in session.get_inputs() if each.type == "tensor(string)"}
    columns = {name: rows[name].to_numpy(object if name in texts else "float32").reshape(-1, 1) for name in names}
    return list(session.run(None, columns))
