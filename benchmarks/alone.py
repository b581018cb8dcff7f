"""The service in one process, without a keeper, with its telemetry on or off: what `benchmarks.telemetry` compares.

python -m benchmarks.alone on|off serve --http-port 0 --ready-file F --data-dir D --load NAME=PATH
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workbench.config import ServerConfig
from workbench.server.settings import named_path
from workbench.server.worker_main import serve
from workbench.telemetry.metrics import Metrics


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alone")
    parser.add_argument("telemetry", choices=("on", "off"))
    parser.add_argument("verb", choices=("serve",))
    parser.add_argument("--http-port", type=int)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--load", type=named_path, action="append", default=[])
    arguments = parser.parse_args()
    if arguments.telemetry == "off":
        silence()
    config = ServerConfig(
        http_port=arguments.http_port,
        ready_file=arguments.ready_file,
        data_dir=arguments.data_dir,
        load=tuple(arguments.load),
    )
    return serve(config)


def silence() -> None:
    """Everything that the service tells its telemetry goes nowhere. There is no such setting; this is a benchmark's."""
    for name in ("request_done", "batch_done", "exchange_done", "start"):
        assert callable(getattr(Metrics, name)), name
        setattr(Metrics, name, _nothing)


def _nothing(*_: object) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
