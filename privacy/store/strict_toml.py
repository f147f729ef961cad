"""TOML read strictly: every unknown key or word is an error that names file, table and key and suggests the nearest known one."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from federation.kernel.errors import ConfigurationError

S = TypeVar("S", bound=msgspec.Struct)
_FIRST_KEY = re.compile(r"\$\.([A-Za-z_]+)")
_TYPES = {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "array": "a list", "object": "a table"}
_TYPE = re.compile(rf"\b(?:{'|'.join(_TYPES)})\b")


def read(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigurationError for a file that is missing, not text, or not TOML (with the line)."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigurationError(str(path), "there is no such file", "Check the path.") from None
    except OSError as error:
        raise ConfigurationError(str(path), f"it cannot be read ({error.strerror})", "Name a TOML file that you may read.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "it is not UTF-8 text", "Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"not valid TOML: {error}", "Correct that line.") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name."""
    names = {known_name.lower(): known_name for known_name in known}
    near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
    return f"Did you mean {names[near[0]]!r}?" if near else f"Known: {', '.join(names.values())}."


def require_known(where: str, given: Iterable[str], known: Iterable[str], what: str = "key") -> None:
    """Raises ConfigurationError for the first name that is not known."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigurationError(where, f"{what} {name!r} is not known", nearest(name, names))


def refuse_later(where: str, given: Iterable[str], later: Iterable[str], what: str = "key") -> None:
    """Raises ConfigurationError for a name whose feature this version does not have: it would otherwise be ignored without a word."""
    for name in given:
        if name in later:
            raise ConfigurationError(where, f"{what} {name!r} is not available yet in this version", "Leave it out.")


def table(
    where: str, raw: Any, kind: type[S], later: Iterable[str] = (), unbounded: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> S:
    """One table as a struct. later: keys to refuse as not available yet; unbounded: keys that may be inf; defaults: for keys left out.

    Raises ConfigurationError for unknown keys and words, missing keys, wrong types and numbers out of range.
    """
    if not isinstance(raw, Mapping):
        raise ConfigurationError(where, "is not a table", "docs/run-file.md shows the form of the run file.")
    require_known(where, raw, [*kind.__struct_encode_fields__, *later])
    refuse_later(where, raw, later)
    _check_words(where, raw, kind)
    plain = {key: value.isoformat() if isinstance(value, dt.date) else value for key, value in raw.items()}
    try:
        found = msgspec.convert(dict(defaults or {}) | plain, kind, strict=True)
    except msgspec.ValidationError as error:
        text, _, place = str(error).replace("`", "").partition(" - at ")
        key = _FIRST_KEY.match(place)
        raise ConfigurationError(f"{where} {key.group(1)}" if key else where, *_in_words(text)) from None
    for key, value in raw.items():
        numbers = value if isinstance(value, list) else [value]
        if key not in unbounded and not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
            raise ConfigurationError(f"{where} {key}", "is not a finite number", "Correct the value.")
    return found


def _in_words(text: str) -> tuple[str, str]:
    """A finding of msgspec, with the names of types as the reader of a file has them, and what to do."""
    if "RFC3339" in text:
        return "is no day", "Write it as 2024-12-31."
    text = text[0].lower() + text[1:].replace(" | null", "")
    action = "Correct the value: text stands in quotation marks." if text.startswith("expected str") else "Correct the value."
    return _TYPE.sub(lambda found: _TYPES[found.group()], text), action


def _check_words(where: str, raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
    hints = get_type_hints(kind)
    for field, key in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        words = get_args(hints[field]) if get_origin(hints[field]) is Literal else ()
        if words and isinstance(raw.get(key), str) and raw[key] not in words:
            raise ConfigurationError(f"{where} {key}", f"{raw[key]!r} is not known", nearest(raw[key], words))
