"""A run in plain words, for the person who is asked to approve it: what, on which columns, for what, who learns what, at what cost, until when.

Every field of the manifest is either said in words here or listed under "settings": nothing that is signed is left out. `difference` gives the
lines that are new since the last approved run, and those that are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.kernel.manifest import AgencyDeclaration, ColumnDeclaration, Manifest, PartyDeclaration, TargetSettings
from federation.kernel.suite import plain_digest
from privacy.approval.cost import cost_lines
from privacy.approval.learning import contracts_of
from privacy.approval.study import Study
from privacy.contracts import load, names

_PURPOSES: Final = {
    "acquire": "which of a platform's merchants would qualify for credit", "decide": "whether and on what terms a firm gets credit",
    "monitor": "loans that are running", "collect": "loans that are not repaid", "research": "a study that decides nothing about a firm",
}  # fmt: skip
_LEARNS: Final = "Who learns what"
_TASKS: Final = {
    "train": "fit a {model} model",
    "binning": "bins, goods and bads and weights of evidence",
    "statistics": "statistics",
    "multi_lender": "tell {asks}, of each of its applicants, how many of the others lend to it, and in which bands; never which of them",
    "shared_identity": (
        "tell {asks}, of each of its owners or addresses, how many of the others know it and behind how many firms; never which of them"
    ),
}


def legible(text: str) -> str:
    """The text with whatever does not print (control characters, line ends, marks that turn the direction) as its escape: a name could
    otherwise end the line, clear the screen, or show what is not there.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Section:
    """A heading and its lines, each legible, whatever a manifest has in it."""

    title: str
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(legible(line) for line in self.lines))


def longest_text(manifest: Manifest) -> int:
    """Characters of the longest text in a manifest."""
    rest: list[Any] = [msgspec.to_builtins(manifest)]
    longest = 0
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            longest = max(longest, len(item))
        elif isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, (list, tuple)):
            rest.extend(item)
    return longest


def fingerprint(key: str) -> str:
    """A public key (hexadecimal) as people compare it: the first 128 bits of its SHA-256, in groups of four."""
    digits = plain_digest(bytes.fromhex(key)).hex()[:32]
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


def column_words(column: ColumnDeclaration) -> str:
    """A column in a line."""
    unit = f", in {column.unit}" if column.unit else ""
    source = f", from {column.source}" if column.source else ""
    return f"{column.name} ({column.kind}, level {column.level}, class {column.classification}{unit}{source})"


def describe(manifest: Manifest, me: str) -> tuple[Section, ...]:
    """The whole manifest, as the institution `me` is asked to approve it."""
    mine = manifest.declared(me)
    others = [party for party in manifest.parties if party.name != me]
    agencies = [agency for agency in manifest.agencies if agency.name != me]
    what = _what(manifest) + ("" if manifest.is_check else " over many banks' own firms" if manifest.horizontal else " across the parties")
    meaning = _PURPOSES.get(manifest.purpose, "not a declared purpose")
    return (
        Section("What", (
            f"run {manifest.run}" + (f", of the study {manifest.study}" if manifest.study else ""), what,
            f"purpose {manifest.purpose}: {meaning}", f"asked for by a {manifest.requested_by}", *_outcomes(manifest.sample.target),
            *(f"without the source {source}" for source in manifest.select.drop_sources),
        )),
        Section(f"With which columns of {me}", (*(column_words(column) for column in manifest.columns_of(me)), _own(manifest, mine))),
        Section("With whom", (
            *(_partner(party) for party in others), *(_between(manifest, agency) for agency in agencies),
            f"coordinator, key {fingerprint(manifest.coordinator)}",
        )),
        Section(_LEARNS, tuple(_learning(manifest))),
        Section("What it costs", tuple(cost_lines(manifest))),
        Section("Until when", (f"no node takes part after {manifest.expires}",)),
        Section("Settings", tuple(_settings(manifest))),
    )  # fmt: skip


def in_short(manifest: Manifest, me: str) -> str:
    """The run in a line, for the end of a long text."""
    what = _what(manifest)
    others = ", ".join(name for name in manifest.signers if name != me)
    columns = len(manifest.columns_of(me))
    return legible(
        f"{manifest.run}: {what}, for {manifest.purpose}, with {columns} column{'' if columns == 1 else 's'} of {me}, "
        f"together with {others}, until {manifest.expires[:10]}"
    )


def _what(manifest: Manifest) -> str:
    return _TASKS[manifest.task].format(model=manifest.model, asks=manifest.check.asks)


def describe_study(study: Study) -> tuple[Section, ...]:
    """A study, as the institution is asked to approve it."""
    others = tuple(
        f"{name} = {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in msgspec.to_builtins(study).items()
        if name not in ("name", "parties", "columns", "purpose", "runs", "reveals", "answers", "epsilon", "delta", "expires")
    )
    return (
        Section("What", (
            f"study {study.name}: up to {study.runs} runs, without a vote on each",
            f"purpose {study.purpose}: {_PURPOSES.get(study.purpose, 'not a declared purpose')}",
        )),
        Section("With which columns", study.columns),
        Section("With whom", study.parties),
        Section("What it costs in all", (
            f"at most {study.reveals:,} score vectors and {study.answers:,} encrypted answers", _noise(study),
        )),
        Section("Until when", (study.expires,)),
        Section("Settings", others),
    )  # fmt: skip


def _noise(study: Study) -> str:
    if not study.epsilon:
        return "no noise is added: what is released is exact"
    return f"epsilon {study.epsilon:g}, delta {study.delta:g} in total, and no run without noise"


def difference(before: Manifest | None, now: Manifest, me: str) -> tuple[str, ...]:
    """Lines that are new ("+ ") and gone ("- ") since the last approved run; the run's own name and expiry count as no change."""
    if before is None:
        return ("+ the first run that this institution is asked to approve",)
    neutral = {"run": now.run, "expires": now.expires, "attempt": now.attempt}
    old, new = _lines(msgspec.structs.replace(before, **neutral), me), _lines(now, me)
    gone, added = _gone(old, new, now), [line for line in new if line not in old]
    return (*(f"- {line}" for line in gone), *(f"+ {line}" for line in added)) or ("nothing but its name and expiry",)


def _gone(old: list[str], new: list[str], now: Manifest) -> list[str]:
    """Lines of before that do not stand any more; of a contract that holds no more one for all."""
    still, left = set(contracts_of(now)) | set(now.contracts), dict[str, None]()
    for line in old:
        if line in new:
            continue
        name = line.removeprefix(f"{_LEARNS}: ").split(":")[0] if line.startswith(f"{_LEARNS}: ") else ""
        left[f"{_LEARNS}: all that the contract {name} says" if name in names() and name not in still else line] = None
    return list(left)


def _lines(manifest: Manifest, me: str) -> list[str]:
    if me not in manifest.signers:
        return []
    return [f"{section.title}: {line}" for section in describe(manifest, me) for line in section.lines]


def _own(manifest: Manifest, mine: PartyDeclaration | AgencyDeclaration) -> str:
    if isinstance(mine, AgencyDeclaration):
        return f"none: it relays what {_stands_for(manifest, mine)} sends and receives, signs that it did, and can read none of it" + (
            f"; it tells {whose} which firms have consented" if (whose := _consents_of(manifest, mine)) else ""
        )
    outcomes = "its outcomes, made of its repayment table" if mine.repayments else "its label"
    parts = ["its ids, blinded"] + [outcomes] * mine.label + ["the dates of its rows"] * mine.dated
    through = f"; all it sends and receives goes through {mine.through}" if mine.through else ""
    stated = f"; {mine.through} holds the consents and says which rows may be used" if mine.consents_at_agency else ""
    return "besides: " + ", ".join(parts) + through + stated


def _outcomes(target: TargetSettings | None) -> Iterator[str]:
    """What an outcome is, where the manifest defines it; everything else of the definition is a setting."""
    if target is None:
        return
    when = "at any month's end" if target.rule == "ever" else "at the last month's end"
    whose = "a firm's loans together" if target.level == "firm" else "each loan by itself"
    yield (
        f"outcomes: bad from {target.days_past_due} days past due {when} of the {target.performance_months} months from a row's month on, "
        f"{whose}; indeterminate, and not in the model, from {target.gray_from} days; written-off loans count as {target.written_off}, "
        f"restructured ones as {target.restructured}, fraud as {target.fraud}"
    )


def _between(manifest: Manifest, agency: AgencyDeclaration) -> str:
    return f"{agency.name} (agency), key {fingerprint(agency.identity)}, which relays for {_stands_for(manifest, agency)}"


def _stands_for(manifest: Manifest, agency: AgencyDeclaration) -> str:
    return ", ".join(party.name for party in manifest.parties if party.through == agency.name)


def _consents_of(manifest: Manifest, agency: AgencyDeclaration) -> str:
    return ", ".join(party.name for party in manifest.parties if party.through == agency.name and party.consents_at_agency)


def _partner(party: PartyDeclaration) -> str:
    label = ", which has the label" if party.label else ""
    columns = ", ".join(column.name for column in party.columns) or "no columns"
    through = f", through {party.through}" if party.through else ""
    return f"{party.name} ({party.role}{label}{through}), key {fingerprint(party.identity)}, with {columns}"


def _learning(manifest: Manifest) -> Iterator[str]:
    """From the leakage contracts that hold for what the run does, and those that the manifest names besides."""
    for name in dict.fromkeys((*contracts_of(manifest), *manifest.contracts)):
        if name not in names():
            yield f"contract {name!r}: unknown to this version"
            continue
        if name not in manifest.contracts:
            yield f"{name}: holds for this run, and the manifest leaves it out"
        for learns in load(name).learns:
            yield f"{name}: {learns.who} learns {learns.what} ({learns.when}). Limit: {learns.limit}"


_SAID: Final = frozenset({
    "run", "task", "model", "purpose", "parties", "agencies", "contracts", "coordinator", "expires", "requested_by", "study",
    "privacy.epsilon", "privacy.delta", "privacy.label_noise", "privacy.minimum_cohort", "privacy.withdrawal",
})  # fmt: skip
"""What the sections above say in words; all else is a setting."""


def _settings(manifest: Manifest) -> Iterator[str]:
    document: dict[str, Any] = msgspec.to_builtins(manifest)
    for key, value in document.items():
        if key in _SAID:
            continue
        if isinstance(value, dict):
            for inner, setting in value.items():
                if f"{key}.{inner}" in _SAID:
                    continue
                if isinstance(setting, dict):
                    yield from (f"{key}.{inner}.{name} = {_setting(part)}" for name, part in setting.items())
                else:
                    yield f"{key}.{inner} = {_setting(setting)}"
        else:
            yield f"{key} = {_setting(value)}"


def _setting(value: object) -> str:
    """As a run file has it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)
