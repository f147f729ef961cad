"""Files that outlive the machine's power: whole or not at all, and new or gone on disk only when their folder is."""

from __future__ import annotations

import os
from pathlib import Path

READABLE = 0o644
"""Of a file that others may read; `put` makes others of mode 600."""


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Put a file in place whole or not at all, in a folder made when missing; on disk, with its name, when this returns. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(path.suffix + ".partial")
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)
    return path


def sync(path: Path) -> None:
    """Return when a file's content, or a folder's names, are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
