"""A file of a share's address and token, for programs that read their settings from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from workbench.client.share_results import Share
from workbench.errors import InvalidInput, StorageError

URL_VARIABLE: Final = "INFER_URL"
TOKEN_VARIABLE: Final = "INFER_TOKEN"


def into_env_file(path: Path, share: Callable[[], Share], revoke: Callable[[str], object]) -> Share:
    """Make a share that has its token, and write it to a new file that only its owner can read.

    The file is opened before the share is made: what cannot be written is not shared, and what came half is revoked
    and removed. Raises InvalidInput for a file that is there already, StorageError, and what `share` raises.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise InvalidInput(f"there is a file {str(path)!r} already: give another name, or remove it") from None
    except OSError as error:
        raise StorageError(f"the file {str(path)!r} cannot be made ({error.strerror}); nothing was shared") from None
    made: Share | None = None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            made = share()
            file.write(f"{URL_VARIABLE}={made.url}\n{TOKEN_VARIABLE}={made.token}\n")
            file.flush()
            os.fsync(descriptor)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if made is not None:
            revoke(made.id)
        if isinstance(error, OSError):
            raise StorageError(
                f"the file {str(path)!r} cannot be written ({error.strerror}); what was shared is revoked again"
            ) from None
        raise
    return replace(made, env_file=str(path))
