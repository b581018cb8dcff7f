"""Connects to a service, and knows which one this process connected to last."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.api.handles import Workbench
from workbench.errors import InvalidInput

_latest: tuple[int, Workbench] | None = None

_NOWHERE = "http://127.0.0.1:1"
"""An address that refuses connections, which makes a client of the shared service look up the real one."""


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    token_file: str | os.PathLike[str] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    own: bool = False,
    timeout: float | None = None,
) -> Workbench:
    """Connects to the service at `url`, or else to your shared service, which is started if none runs.

    `token_file`, in place of `token`, is a file with the token; it is read again when the token was replaced.

    `ca_file`, for an https:// or grpcs:// address, is PEM with the authority that signed the service's certificate, or
    with that certificate; without it the machine's own authorities are trusted.

    The token of a share opens the models that it is for: to predict with, `models` and `show`.

    `own`: the service at `url` is yours and runs on this machine, so nothing is sent to a process of another user that
    has taken its port. Your shared service is always called so.

    `timeout`, for your shared service: for how many seconds (60) this and later calls wait while it is started, or
    replaces a worker that ended.

    Raises Unavailable if no service answers, and Unauthenticated if the token is wrong or missing.
    """
    global _latest
    from workbench.client import sync
    from workbench.client.client import AsyncClient

    if timeout is not None and (url is not None or not timeout >= 0):
        raise InvalidInput(f"timeout is for your shared service, in seconds: connect(timeout=60), got {timeout!r:.40}")
    if url is not None:
        if token_file is not None:
            from workbench.rendezvous.token_file import read_token

            token = read_token(Path(token_file))
        file = None if token_file is None else Path(token_file)
        ca = None if ca_file is None else Path(ca_file)
        workbench = Workbench(AsyncClient(url, token, token_file=file, ca_file=ca, own=own))
    elif ca_file is not None:
        raise InvalidInput("a ca_file needs the url of the service that it is for: connect(url, token, ca_file=...)")
    elif token is not None or token_file is not None:
        raise InvalidInput("a token needs the url of the service that it opens: connect(url, token)")
    else:
        workbench = _with_shared_service(start=True, wait_s=timeout)
    try:
        sync.run(workbench.client.reach())
    except BaseException:
        sync.run(workbench.client.close())
        raise
    _latest = (os.getpid(), workbench)
    return workbench


def current(start: bool = True) -> Workbench:
    """Returns the workbench that this process connected to last, or else a new one; `%infer` uses it.

    With `start` False no service is started; for verbs that only ask about the service.
    """
    there = connected()
    if there is not None:
        return there
    return connect() if start else _with_shared_service(start=False)


def connected() -> Workbench | None:
    """Returns the workbench that this process connected to last, or None if it is closed; starts no service."""
    if _latest is None or _latest[0] != os.getpid() or _latest[1].closed:
        return None
    return _latest[1]


def running() -> Workbench | None:
    """Returns the workbench that this process connected to last, or else one on your shared service; None where the
    service does not run, or is not Ready. Starts no service and holds none."""
    there = connected() or _with_shared_service(start=False, wait_s=0.0)
    return there if there.running else None


def _with_shared_service(start: bool, wait_s: float | None = None) -> Workbench:
    from workbench.client.client import AsyncClient
    from workbench.client.service_transport import WAIT_S
    from workbench.client.shared_service import Address, address_of, shared_service

    shared = shared_service()
    if start:
        address = shared.ensure() if wait_s is None else shared.ensure(wait_s)
    else:
        record = shared.record()
        address = Address(_NOWHERE, None) if record is None else address_of(record)
    client = AsyncClient(
        address.url,
        address.token,
        token_file=address.token_file,
        ca_file=address.ca_file,
        own=True,
        shared=shared,
        keeper=address.keeper,
        wait_s=WAIT_S if wait_s is None else wait_s,
    )
    return Workbench(client, shared, address.token_file)
