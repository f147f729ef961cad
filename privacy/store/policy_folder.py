"""An institution's folder of policies: `policy/*.cedar`, read when the node starts.

The folder is the institution's own. The program writes to it once, when the institution is founded, and never again: a newer program brings no
new rule into it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from federation.kernel.errors import ConfigurationError
from privacy.policy.decide import Policies
from privacy.policy.defaults import default_cases, default_files, schema_text

ENDING: Final = ".cedar"
CASES: Final = "cases.toml"


def write_defaults(folder: Path) -> tuple[Path, ...]:
    """Write the default rules and the cases that document them, and make the folder. Returns what was written.

    Raises ConfigurationError where one of the files is there already; then nothing is written.
    """
    files = {folder / name: text for name, text in (default_files() | {CASES: default_cases()}).items()}
    if there := sorted(path.name for path in files if path.exists()):
        raise ConfigurationError(str(folder), f"has {', '.join(there)} already", "Policies are never replaced: move them away first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(str(folder), f"cannot be written ({error.strerror})", "Check the folder's owner and the disk.") from None
    return tuple(files)


def read_texts(folder: Path) -> dict[str, str]:
    """The folder's files of rules, by name.

    Raises ConfigurationError for a folder that is not there, a file that cannot be read, and a file of rules that would be left out because of
    its place or its ending: a rule that forbids must not be lost by its name. Hidden files (an editor's) are left out.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            str(folder), "is not a folder", "Give the institution's folder of policies; `creditfed node init` makes one."
        )
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if ENDING not in path.name.lower() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.parent != folder or path.suffix != ENDING or not path.is_file():
            raise ConfigurationError(
                str(path.relative_to(folder)),
                "looks like a file of rules and would not be read",
                "Put NAME.cedar into the folder, or move it away.",
            )
        try:
            found[path.name] = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigurationError(path.name, "is not UTF-8", "Save it as UTF-8.") from None
        except OSError as error:
            raise ConfigurationError(path.name, f"cannot be read ({error.strerror})", "Check its owner and mode.") from None
    return found


def load_policies(folder: Path) -> Policies:
    """The folder's rules, each parsed and checked against the schema; an empty folder denies everything.

    Raises ConfigurationError as `read_texts` does, and with file, line and rule for what does not parse or fit the schema.
    """
    return Policies.from_texts(schema_text(), read_texts(folder))
