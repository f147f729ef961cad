"""The texts that the program ships: the schema, the rules that an institution begins with, and the cases that document them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from privacy.policy.decide import Policies

_HERE = resources.files("privacy.policy")


@cache
def schema_text() -> str:
    """The schema, the same for every institution."""
    return _HERE.joinpath("schema.cedarschema").read_text("utf-8")


@cache
def default_files() -> dict[str, str]:
    """The default rules: name of the file -> its text, in order."""
    found = {entry.name: entry.read_text("utf-8") for entry in _HERE.joinpath("default").iterdir() if entry.name.endswith(".cedar")}
    return dict(sorted(found.items()))


@cache
def default_cases() -> str:
    """The shipped cases, TOML."""
    return _HERE.joinpath("default", "cases.toml").read_text("utf-8")


@cache
def default_policies() -> Policies:
    """The default rules, ready to decide."""
    return Policies.from_texts(schema_text(), default_files())
