"""A database as a node's source: `[source]` of node.toml, and the password, which is not in it.

    [source]
    url = "postgresql+psycopg://reader@db.internal/risk"
    table = "scoring.firms"          # or: query = "select ..."

A password is in the environment variable CREDITFED_SOURCE_PASSWORD, or in keys/source.password in the node's home, which nobody else may read.
Where neither is, the driver is left to its own means (PGPASSWORD and ~/.pgpass, Kerberos, a local socket).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from federation.kernel.errors import ConfigurationError
from federation.kernel.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PASSWORD: Final = "CREDITFED_SOURCE_PASSWORD"  # noqa: S105  # the variable's name
_KEYS: Final = ("url", "table", "query")
_SECRET: Final = re.compile(r"pass(?!file)|pwd|secret|token", re.IGNORECASE)
"""In the name of an option: psycopg's password and sslpassword, ODBC's PWD."""
_WHERE: Final = "node.toml: [source]"
_EXAMPLE: Final = 'Write url = "postgresql+psycopg://USER@HOST/DATABASE" and table = "SCHEMA.NAME" or query = "select ...".'


@dataclass(frozen=True)
class Database:
    """url: SQLAlchemy's, without a password; table: "NAME" or "SCHEMA.NAME", or query: one of the two; home: the node's, of relative paths."""

    url: str
    table: str | None
    query: str | None
    home: Path

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], home: Path) -> Self:
        """From [source]. Raises ConfigurationError, which does not repeat the URL: a password may be in it by mistake."""
        odd = sorted(set(raw) - set(_KEYS))
        if odd:
            raise ConfigurationError(_WHERE, f"{odd[0]!r} is no key of it", f"Its keys are {', '.join(_KEYS)}. {_EXAMPLE}")
        if any(not isinstance(value, str) or not value.strip() for value in raw.values()) or "url" not in raw:
            raise ConfigurationError(_WHERE, "url is missing, or a key is no text", _EXAMPLE)
        if ("table" in raw) == ("query" in raw):
            raise ConfigurationError(_WHERE, "needs either table or query, and not both", _EXAMPLE)
        parse(raw["url"])
        return cls(raw["url"], raw.get("table"), raw.get("query"), home)

    @property
    def short_name(self) -> str:
        """The table's own name; for a query the database's."""
        return self.table.rpartition(".")[2] if self.table else Path(parse(self.url).database or "query").stem

    def password(self) -> Secret | None:
        """The password, None where the node has none. Raises ConfigurationError for a file that others may read."""
        said = os.environ.get(PASSWORD)
        if said:
            return Secret(said.encode())
        path = self.home / "keys" / "source.password"
        try:
            mode, content = path.stat().st_mode, path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror
        else:
            if not mode & (stat.S_IRWXG | stat.S_IRWXO):
                return Secret(content.rstrip(b"\r\n"))
            reason = "others than its owner may"
        raise ConfigurationError(str(path), f"cannot be read as it should ({reason})", "Make it yours alone: chmod 600.")


def parse(url: str) -> URL:
    """A URL that holds no password. Raises ConfigurationError, without it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None:
        raise ConfigurationError(_WHERE, "url is not the URL of a database", _EXAMPLE)
    if found.password or any(_SECRET.search(name) for name in _options(found)):
        action = (
            f"Take it out, and put it into the environment variable {PASSWORD} or into keys/source.password in the node's home (mode 600)."
        )
        raise ConfigurationError(_WHERE, "a password is written into url", action)
    return found


def _options(url: URL) -> list[str]:
    """The names of all that is said behind the URL's "?", and within one value, as in ODBC's "DRIVER=...;PWD=..."."""
    texts = [text for value in url.query.values() for text in ((value,) if isinstance(value, str) else value)]
    return [*url.query, *(word.rpartition(";")[2] for text in texts for word in text.split("=")[:-1])]
