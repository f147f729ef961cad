"""The texts that the program ships: the schema, the rules that an institution begins with, and the cases that document them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from privacy.institutions import institution_roles
from privacy.policy.decide import Policies

_HERE = resources.files("privacy.policy")
_INSTITUTIONS = 'entity Institution enum ["bank", "platform", "tax", "agency"];'
"""The schema's line that the dictionary extends."""


@cache
def schema_text() -> str:
    """The schema, the same for every institution; the kinds of institution are the dictionary's."""
    text = _HERE.joinpath("schema.cedarschema").read_text("utf-8")
    head, found, tail = text.partition(_INSTITUTIONS)
    assert found, "the schema has a line for kinds of institution"
    listed = ", ".join(f'"{role}"' for role in institution_roles())
    return f"{head}entity Institution enum [{listed}];{tail}"


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
