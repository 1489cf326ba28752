"""Files that only their owner can read: keys, passwords, URLs that hold one.

Called by the composition root and by the parts that keep a secret of their own. Its one rule: such a file is
whole or not there, also after a crash while it was written.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def kept_secret(path: Path) -> str:
    """The secret in a file that only its owner can read; made when it is not there."""
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        secret = secrets.token_urlsafe(32)
        write_secret(path, secret)
        return secret


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner can read, in place of the one that was there: whole, or as it was."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
