"""Scenarios by name: an economy each, as a TOML file here with a page in docs/scenarios/.

title = "one line"
[economy]                        # keys: simulations/economy/settings.py
[economy.rings]
[economy.coverage]
[[economy.shock]]
[features]                       # and what it leaves beside the records: simulations/scenarios/runs.py
[columns]
[settings]
[[run]]

Read `runs` (what may be asked), `tables` (feature tables by the real adapters), `outcomes`, `lending` (inputs of the multi-lender check),
`run_files` and `prepare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from federation.kernel.errors import ConfigurationError
from privacy.store.strict_toml import nearest, read, require_known
from simulations.economy.settings import Economy, economy
from simulations.scenarios.runs import Plan, read_plan

KEYS: Final = ("title", "economy", "features", "columns", "settings", "run")


@dataclass(frozen=True)
class Scenario:
    """name: of its file; title: a line for people; economy: what is drawn; plan: features and runs beside it."""

    name: str
    title: str
    economy: Economy
    plan: Plan


def names() -> list[str]:
    """Scenarios that come with the program."""
    return sorted(path.name.removesuffix(".toml") for path in files("simulations.scenarios").iterdir() if path.name.endswith(".toml"))


def scenario(name: str) -> Scenario:
    """A scenario by its name, or by the path of a TOML file of one's own.

    Raises ConfigurationError: unknown names and keys come with the nearest.
    """
    if name.endswith(".toml"):
        return parsed(Path(name).stem, Path(name).name, read(Path(name)))
    if name not in names():
        raise ConfigurationError("scenario", f"{name!r} is not known", nearest(name, names()))
    return parsed(name, f"{name}.toml", read(Path(str(files("simulations.scenarios").joinpath(f"{name}.toml")))))


def parsed(name: str, where: str, raw: dict[str, Any]) -> Scenario:
    """A scenario of a file's tables. where: the file, for errors. Raises ConfigurationError."""
    require_known(where, raw, KEYS)
    if not isinstance(raw.get("title"), str):
        raise ConfigurationError(where, "title is missing", "Say in one line what it is for.")
    drawn = economy(f"{where} [economy]", raw.get("economy", {}))
    return Scenario(name, raw["title"], drawn, read_plan(where, raw, drawn))
