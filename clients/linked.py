"""Rows that speak of two subjects, a firm and its owner: what a run asks of each of them (docs/adr/0039-linked-subjects.md).

Where a party's table has a column of owners (`owner` in node.toml), a row takes part by the consent of both: the firm's for every column that is
not the owner's, and for the row's presence where there is none such; the owner's for every column that is theirs, where the run uses one. Theirs
are the columns of class C2 or C3 (JR/T 0171-2020: they identify a person or their finances, or authenticate them), and `owner_columns`.
Neither can consent for the other. A row that names no owner has none who could.
"""

from __future__ import annotations

from dataclasses import dataclass

from clients.party_config import PartyConfig
from federation.kernel.manifest import Manifest
from privacy.consent.decide import Ask
from privacy.levels import DEFAULT_CLASSIFICATION, DEFAULT_LEVEL


@dataclass(frozen=True)
class Asks:
    """What a run asks of each row's subjects. owner: None where it uses nothing of the owner's."""

    firm: Ask
    owner: Ask | None


def asks_of(manifest: Manifest, config: PartyConfig) -> Asks:
    """Of one party's rows: the manifest's columns, label and weight, each asked of whose it is."""
    named = {column.name: (column.level, column.classification) for column in manifest.party(config.name).columns}
    for name in config.own_columns:
        named[name] = (config.levels.get(name, DEFAULT_LEVEL), config.classes.get(name, DEFAULT_CLASSIFICATION))
    theirs = {name for name, (_, kind) in named.items() if name in config.owner_columns or kind != DEFAULT_CLASSIFICATION}
    if config.owner is None:
        theirs = set()
    recipients = tuple(name for name in manifest.members if name != config.name)
    firms = Ask(manifest.purpose, tuple((name, level) for name, (level, _) in named.items() if name not in theirs), recipients)
    if not theirs:
        return Asks(firms, None)
    return Asks(firms, Ask(manifest.purpose, tuple((name, level) for name, (level, _) in named.items() if name in theirs), recipients))
