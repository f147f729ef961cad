"""For a regulator: who computed what, with whose approval, across institutions. From the entries of several logs, by a fixed list of facts.

Only the facts named here are read, so that nothing else in a log can leave with an export. There is no record in a log to begin with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from privacy.audit.compare import Difference
from privacy.audit.entry import Entry
from privacy.audit.findings import Report


class Approval(msgspec.Struct, frozen=True):
    """party: the institution; by: its people, study or policy, by its own log ("" where that is not among these); against: who voted against it
    there; manifest: of what; signature_seen_by: in whose logs its signature is.
    """

    party: str
    by: str
    against: str
    manifest: str
    signature_seen_by: tuple[str, ...]


class Part(msgspec.Struct, frozen=True):
    """One party's part in a run: how often its vault was opened, what it released and refused, the epsilon that it spent, how the run ended."""

    party: str
    vault_openings: int
    releases: int
    refusals: int
    epsilon: float
    outcome: str


class RunAccount(msgspec.Struct, frozen=True):
    """One run. began, ended: the first and last time in any log; manifests: more than one means that the parties did not run the same."""

    run: str
    began: str
    ended: str
    purposes: tuple[str, ...]
    tasks: tuple[str, ...]
    manifests: tuple[str, ...]
    approvals: tuple[Approval, ...]
    parts: tuple[Part, ...]
    differences: tuple[str, ...]


class LogAccount(msgspec.Struct, frozen=True):
    """One log: its party and key, the entries that are there, its head, and what verification found."""

    party: str
    key: str
    start: int
    size: int
    root: str
    signed_until: int
    heads_checked: int
    findings: tuple[str, ...]
    notes: tuple[str, ...]


class Export(msgspec.Struct, frozen=True):
    """All of it."""

    format: int
    logs: tuple[LogAccount, ...]
    runs: tuple[RunAccount, ...]


def log_account(report: Report) -> LogAccount:
    """A verified log in words."""
    return LogAccount(
        report.party,
        report.head.key.hex() if report.head else "",
        report.start,
        report.size,
        report.root.hex(),
        report.size - report.unsigned,
        report.checked,
        tuple(str(finding) for finding in report.findings),
        report.notes,
    )


def run_account(run: str, entries: Mapping[str, Sequence[Entry]], differences: Iterable[Difference] = ()) -> RunAccount:
    """One run. entries: of this run, by party."""
    every = [entry for own in entries.values() for entry in own]
    times = sorted(entry.time for entry in every)
    return RunAccount(
        run,
        times[0] if times else "",
        times[-1] if times else "",
        _told(every, "purpose"),
        _told(every, "task"),
        _told(every, "manifest"),
        _approvals(entries),
        tuple(_part(party, own) for party, own in sorted(entries.items()) if own),
        tuple(str(difference) for difference in differences),
    )


def _told(entries: Iterable[Entry], name: str) -> tuple[str, ...]:
    """What sessions and institutions' approvals say under a name, each once."""
    return tuple(sorted({str(entry.facts[name]) for entry in entries if entry.kind in ("session", "approval") and name in entry.facts}))


def _approvals(entries: Mapping[str, Sequence[Entry]]) -> tuple[Approval, ...]:
    """By institution and manifest: who let it through there, who voted against it, and who saw the institution's signature on it."""
    told: dict[str, dict[tuple[str, str], set[str]]] = {kind: {} for kind in ("approval", "vote", "signature")}
    for recorder, own in entries.items():
        for entry in own:
            if entry.kind in told and not (entry.kind == "vote" and entry.facts["verdict"] == "approve"):
                of = (str(entry.facts["party"]), str(entry.facts["manifest"]))
                told[entry.kind].setdefault(of, set()).add(recorder if entry.kind == "signature" else str(entry.facts["by"]))
    by, against, seen = told["approval"], told["vote"], told["signature"]
    return tuple(
        Approval(
            party, "; ".join(sorted(by.get(of, ()))), "; ".join(sorted(against.get(of, ()))), manifest, tuple(sorted(seen.get(of, ())))
        )
        for of in sorted(by.keys() | against.keys() | seen.keys())
        for party, manifest in [of]
    )


def _part(party: str, own: Sequence[Entry]) -> Part:
    """A refusal is a policy entry that does not allow."""
    last = next((entry for entry in reversed(own) if entry.kind in ("end", "abort")), None)
    outcome = "open" if last is None else "done" if last.kind == "end" else f"aborted ({last.facts.get('code', 'no reason given')})"
    return Part(
        party,
        sum(entry.kind == "vault" for entry in own),
        sum(entry.kind == "release" for entry in own),
        sum(entry.kind == "policy" and entry.facts.get("allowed") is False for entry in own),
        _epsilon(own),
        outcome,
    )


def _epsilon(own: Sequence[Entry]) -> float:
    """What was spent: an entry of a spend has what its manifest's spends so far compose to; of several manifests the sum, which is a bound."""
    spent: dict[str, float] = {}
    for entry in own:
        epsilon, of = entry.facts.get("epsilon"), str(entry.facts.get("manifest", ""))
        if entry.kind == "budget" and entry.facts.get("step") == "spent" and isinstance(epsilon, int | float):
            spent[of] = max(spent.get(of, 0.0), float(epsilon))
    return math.fsum(spent.values())


def to_json(export: Export) -> bytes:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(export), indent=2) + b"\n"


def to_markdown(export: Export) -> str:
    """A page to read and print."""
    out = ["# Audit account", "", "Who computed what, with whose approval, as the parties' signed logs tell it. No record is in it.", ""]
    out += ["## Logs", ""]
    out += _table(
        ("Party", "Key", "Entries", "Signed up to", "Heads of it that others hold", "Verification"),
        [
            (
                log.party,
                log.key,
                f"{log.start:,} to {log.size:,}",
                f"{log.signed_until:,}",
                f"{log.heads_checked:,}",
                "; ".join((*(log.findings or ("sound",)), *log.notes)),
            )
            for log in export.logs
        ],
    )
    for run in export.runs:
        out += [f"## Run {_plain(run.run)}", "", f"From {run.began} to {run.ended}."]
        for name, values in (("Purpose", run.purposes), ("Task", run.tasks), ("Manifest", run.manifests)):
            out += [f"{name}: {_plain(', '.join(values) or 'not recorded')}."]
        out += ["", f"The parties' accounts {'agree' if not run.differences else 'differ'}.", ""]
        out += [f"- {_plain(difference)}" for difference in run.differences] + [""] * bool(run.differences)
        approvals = [
            (
                one.party,
                one.by or "not told: its own log is not here",
                one.against or "nobody",
                one.manifest[:16],
                ", ".join(one.signature_seen_by),
            )
            for one in run.approvals
        ]
        out += _table(("Approved for", "By", "Against", "Manifest", "Signature recorded by"), approvals)
        parts = [
            (part.party, f"{part.vault_openings:,}", f"{part.releases:,}", f"{part.refusals:,}", f"{part.epsilon:g}", part.outcome)
            for part in run.parts
        ]
        out += _table(("Party", "Vault openings", "Releases", "Refusals", "Epsilon spent", "Outcome"), parts)
    return "\n".join(out).rstrip("\n") + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return [f"{heads[0]}: none recorded.", ""]
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines] + [""]


def _plain(text: str) -> str:
    """Text that a page shows as it is: facts come from parties."""
    return "".join(f"\\{letter}" if letter in "|<>[]`*_\\" else letter for letter in text)
