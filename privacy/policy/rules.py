"""One file of Cedar, cut into its rules: each with its id, its reason and the line where it stands.

Cedar's parser names no lines; so a file is cut at the semicolons that end its policies and each is parsed by itself. Inside a policy the line
of a fault is the first one up to which the text is no longer the beginning of a policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import cedarpy
from cedarpy import pst

from federation.kernel.errors import ConfigurationError

_UNFINISHED: Final = "unexpected end of input"
_SYNTAX: Final = ("unexpected", "invalid token")
_TOKEN: Final = re.compile(r'(?P<space>\s+|//[^\n]*)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<end>;)|(?P<other>.)', re.DOTALL)
_ID: Final = re.compile(r'@id\(\s*"([^"]*)"')
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


@dataclass(frozen=True)
class Rule:
    """One policy. id and why: its annotations; file and line: where it begins; text: as written; tree: as cedarpy parsed it."""

    id: str
    why: str
    file: str
    line: int
    text: str
    tree: pst.Template

    @property
    def place(self) -> str:
        """For a reader: `20-columns.cedar, line 11`."""
        return f"{self.file}, line {self.line}"


def read_rules(file: str, text: str, schema: cedarpy.Schema) -> tuple[Rule, ...]:
    """The rules of one file, in order, each checked against the schema. Raises ConfigurationError with file, line and rule."""
    return tuple(_rule(file, line, statement, schema) for line, statement in _statements(text))


def _statements(text: str) -> list[tuple[int, str]]:
    """The policies of a file and the lines where they begin; what follows the last semicolon is one more."""
    found: list[tuple[int, str]] = []
    begin = None
    for token in _TOKEN.finditer(text):
        if token["space"] is None and begin is None:
            begin = token.start()
        if token["end"] is not None and begin is not None:
            found.append((begin, text[begin : token.end()]))
            begin = None
    if begin is not None:
        found.append((begin, text[begin:]))
    return [(1 + text.count("\n", 0, at), statement) for at, statement in found]


def _rule(file: str, line: int, text: str, schema: cedarpy.Schema) -> Rule:
    named = _ID.search(text)
    name = f", rule {named[1]}" if named else ""
    try:
        parsed = cedarpy.policies_to_pst(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{file}, line {line + _fault(text)}{name}",
            f"is not Cedar: {error}",
            "Correct this line; docs/guides/institution.md has examples.",
        ) from None
    where = f"{file}, line {line}{name}"
    if len(parsed.static_policies) != 1:
        raise ConfigurationError(where, "is a template, which decides nothing", "Write the principal and the resource out.")
    (tree,) = parsed.static_policies.values()
    for annotation, use in (("id", "decisions and the log name it"), ("why", "people who are refused read it")):
        if not tree.annotations.get(annotation):
            raise ConfigurationError(where, f"has no @{annotation}", f'Write @{annotation}("...") above it: {use}.')
    if not _NAME.fullmatch(tree.annotations["id"]):
        raise ConfigurationError(where, "has an @id of other characters than a-z, 0-9 and -", "Name it like level-5-never-leaves.")
    errors = cedarpy.validate_policies(text, schema).errors
    if errors:
        what = re.sub(r"^for policy `policy0`[,:] ?", "", errors[0].error)
        raise ConfigurationError(where, f"does not fit the schema: {what}", "Use the words of privacy/policy/schema.cedarschema.")
    return Rule(tree.annotations["id"], tree.annotations["why"], file, line, text, tree)


def _fault(text: str) -> int:
    """How many lines after the policy's first one its fault is; none where it is no fault of the syntax, which names no place."""
    lines = text.splitlines(keepends=True)
    last = _UNFINISHED
    for count in range(1, len(lines) + 1):
        part = "".join(lines[:count])
        try:
            cedarpy.policies_to_pst(part)
        except ValueError as error:
            if str(error).startswith(_SYNTAX) and str(error) != _UNFINISHED:
                return count - 1
            last = str(error)
    return len(lines) - 1 if last == _UNFINISHED else 0
