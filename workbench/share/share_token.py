"""A share's secrets: its token, and the code of the link that gives it. Only their digests are kept."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

PREFIX: Final = "wbk_"
"""What each token begins with, so that scanners of repositories can find one that was put there by mistake."""


def new_share_token() -> str:
    """256 random bits, as text."""
    return PREFIX + secrets.token_urlsafe(32)


def new_code() -> str:
    """256 random bits, as text that a link's fragment may hold."""
    return secrets.token_urlsafe(32)


def new_share_id() -> str:
    return "s" + secrets.token_hex(4)


def digest_of(secret: bytes) -> bytes:
    """SHA-256. A secret of 256 random bits needs no slow hash, and a lookup by digest tells nothing by its time."""
    return hashlib.sha256(secret).digest()
