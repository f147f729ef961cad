"""The file that an institution gives at joining, NAME.join.toml, as the coordinator reads it."""

from __future__ import annotations

from pathlib import Path

from federation.kernel.errors import ConfigurationError
from federation.kernel.joining import LONGEST, Joining, read_joining


def read_join_file(path: Path) -> Joining:
    """A joining whose signature holds. Raises ConfigurationError, which never quotes the file."""
    try:
        with path.open("rb") as file:
            text = file.read(4 * LONGEST + 1).decode()
    except OSError as error:
        raise ConfigurationError(str(path), f"it cannot be read ({error.strerror})", "Name the institution's NAME.join.toml.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "it is not UTF-8 text", "Name the institution's NAME.join.toml.") from None
    return read_joining(text, str(path))
