"""The coordinator's own keys, as files."""

from __future__ import annotations

import os
from pathlib import Path

from federation.kernel.secret import Secret


def file_key(path: Path) -> Secret:
    """A 32-byte key of the coordinator, made from the operating system's entropy when first asked for; mode 600."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))
    return Secret(path.read_bytes())
