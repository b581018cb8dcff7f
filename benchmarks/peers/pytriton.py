from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping

from benchmarks.bodies import Row, oip_body, oip_row
from benchmarks.load import Body
from benchmarks.peers.peer import SERVERS, Launch, Peer, Place, Variant, given


class PyTriton(Peer):
    name, key, package = "PyTriton", "pytriton", "nvidia-pytriton"
    requirements = ("nvidia-pytriton", "onnxruntime")
    delay_s = 0.0001
    settings = (
        "`max_queue_delay_microseconds` 100, as in Triton's guide, or 0, its default; one inference callable per "
        "worker, 1 worker or one per core"
    )
    encodings = ("json", "binary")
    one_model = False

    def launch(self, place: Place, variant: Variant) -> Launch:
        # Triton's Python stub is linked against libpython, and must find the one of this very interpreter.
        library = sysconfig.get_config_var("LIBDIR")
        known = os.environ.get("LD_LIBRARY_PATH", "")
        found = {"LD_LIBRARY_PATH": f"{library}:{known}" if known else str(library)}
        command = (str(place.bin / "python"), str(SERVERS / "pytriton_onnx.py"))
        return Launch(command, {**given(place, variant), **found})

    def path(self, model: str) -> str:
        return f"/v2/models/{model}/infer"

    def body(self, row: Row, encoding: str) -> Body:
        return oip_body(row, encoding)

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        return oip_row(answer, headers)
