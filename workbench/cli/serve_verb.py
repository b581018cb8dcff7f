"""`serve`: a supervisor and its worker, in this process or as the user's shared service."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.config import ServerConfig


def add_serve(parser: argparse.ArgumentParser) -> None:
    from workbench.server.settings import add_flags

    parser.set_defaults(run=_serve)
    add_flags(parser)
    # For clients that start the user's shared service, and for its keeper when it starts a worker.
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)


def _serve(arguments: argparse.Namespace) -> int:
    from workbench.rendezvous.compatibility import check_platform
    from workbench.server.settings import given_flags, server_config

    check_platform()
    config = server_config(given_flags(arguments), os.environ)
    if arguments.worker is None:
        return _supervise(config, arguments)
    from workbench.server.process.worker_channel import SupervisorChannel, decode_setup
    from workbench.server.worker_main import serve

    status = serve(config, SupervisorChannel(decode_setup(arguments.worker)) if arguments.worker else None)
    if any(thread.name.startswith("infer-") for thread in threading.enumerate()):
        # A run or a load has not ended. Tearing down the runtime under it would abort the process, so exit at once.
        sys.stderr.flush()
        os._exit(status)
    return status


def _supervise(config: ServerConfig, arguments: argparse.Namespace) -> int:
    """Runs the supervisor of a worker. Nothing heavy may be imported here: the supervisor must stay small."""
    from workbench.server.process.signals import detach
    from workbench.server.process.supervisor import supervise
    from workbench.server.process.worker import worker_command

    # What the keeper found for itself, the worker is told: the working folder may be gone when the next one starts.
    command = worker_command([*arguments.given, "--data-dir", str(config.data_dir.absolute())])
    if not arguments.shared:
        return supervise(config, command)
    from workbench.rendezvous.folder import rendezvous

    room = rendezvous().open()
    return detach(room.start_log, lambda published: supervise(config, command, room, published=published))
