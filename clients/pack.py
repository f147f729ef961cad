"""The validator's view of a run, at one institution: what the model rests on, its own part of it, and of partners what they agreed to show.

    lineage       manifest, contracts, snapshots and signatures, sessions, peers' heads, the log and what verifying it found
    own           columns with bins, weights of evidence, points and coefficients of this institution
    partners      of their columns what the manifest's partner_disclosure allows, as they sent it at the run's end (at the label party alone)
    sensitivity, stability, metrics with out of time   at the label party, which alone has the labels and the split
    replay        whether the results come out again from the journal (`clients.replay`)

No record and no score of a firm is in it, and no count of few firms (`privacy.disclosure.published`). The log says that it was made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from clients.home import Home
from clients.node import Node
from clients.pack_model import model_part
from clients.persons import acting
from clients.recorded import INDEX, Results, results_of
from clients.replay import SAME, replay
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest
from privacy import contracts
from privacy.audit.entry import Entry
from privacy.audit.verify import verify
from privacy.disclosure.published import published
from privacy.policy.ask import PersonAsk
from privacy.policy.explain import require
from privacy.store.audit_folder import find


def pack(home: Home, run: str, who: str, key: Path | None = None, *, again: bool = False) -> dict[str, Any]:
    """The document, as JSON values. who: a person of approvers.toml, key: theirs; again: whether the results are made once more.

    Raises PolicyRefusal where the policies let nobody of that person's role see it, before anything of the run is read; ConfigurationError
    where there is no such person or run, DataError where neither its results nor its journal are there.
    """
    node = Node(home.root)
    _require_allowed(node, run, who, key)
    manifest, outcome = _manifest(node, run)
    told = list(node.gate.log.entries(run))
    recorded = next(
        (entry.facts for entry in reversed(told) if entry.kind == "end" and entry.facts.get("manifest") == manifest.hash.hex()), {}
    )
    folder, stored = results_of(home, manifest.hash.hex()) or (home.results, None)
    contents = _contents(folder, stored)
    made, said = replay(node, run, stored, contents, recorded) if again else ({}, {"verdict": "not asked for"})
    if stored is None and not made:
        more = f". {said['verdict']}" if again else ""
        raise DataError(node.name, f"no results of this run are here{more}", "Give --replay: the journal has them while it is kept.")
    if stored is None or said["verdict"] == SAME:  # what comes out again is better than files that someone may have touched
        contents = made
    files = {name: json.loads(content) for name, content in contents.items() if name.endswith(".json")}
    document = {
        "format": 1, "institution": node.name, "run": run, "outcome": outcome, "manifest_hash": manifest.hash.hex(),
        "lineage": _lineage(node, manifest, told), **published(model_part(manifest, node.name, files), node.config.disclosure),
        "results": {"files": dict(stored.files) if stored else {}, **_as_logged(folder, stored, str(recorded.get("results", "")))},
        "replay": said,
    }  # fmt: skip
    digest = suite.plain_digest(msgspec.json.encode(document, order="sorted")).hex()
    node.gate.log.append("pack", run, manifest=manifest.hash.hex(), digest=digest, by=who, replay=again)
    node.gate.log.sync()
    node.close()
    return document | {"digest": digest}


def _require_allowed(node: Node, run: str, who: str, key: Path | None) -> None:
    """The policies decide; a refusal is an entry of the log too."""
    person, _ = acting(node.gate.approvals, who, key)
    ask = PersonAsk(role=person.role, act="view validation")
    try:
        require(node.gate.policies, ask)
    except PolicyRefusal as refusal:
        node.gate.log.append("policy", run, asked="PersonAsk", allowed=False, code=refusal.code.value, act=ask.act, by=who)
        node.gate.log.sync()
        raise


def _manifest(node: Node, run: str) -> tuple[Manifest, str]:
    """The last manifest of that name which was signed here, and what became of it."""
    events = [event for event in node.gate.approvals.events() if event.run == run]
    manifest = next((found for event in reversed(events) if (found := node.gate.approvals.signed(event.manifest)) is not None), None)
    if manifest is None:
        raise ConfigurationError(node.name, "it has signed no run of that name, or retention has deleted it", "See `creditfed audit show`.")
    return manifest, [event.event for event in events if event.manifest == manifest.hash.hex()][-1]


def _lineage(node: Node, manifest: Manifest, told: Sequence[Entry]) -> dict[str, Any]:
    report = verify(find(node.home.root).log(node.name), {suite.signing_public(node.identity)})
    signed, approved = (
        [entry.facts for entry in told if entry.kind == kind and entry.facts["manifest"] == manifest.hash.hex()]
        for kind in ("signature", "approval")
    )
    return {
        "manifest": msgspec.to_builtins(manifest),
        "contracts": [
            {"name": name, "title": contracts.load(name).title, "digest": suite.plain_digest(msgspec.json.encode(contracts.load(name))).hex()}
            for name in manifest.contracts if name in contracts.names()
        ],
        "snapshots": {str(facts["party"]): facts["snapshot"] for facts in signed},
        "signatures": {str(facts["party"]): facts["signature"] for facts in signed},
        "approved_here_by": sorted({str(facts["by"]) for facts in approved}),
        "sessions": [entry.facts["session"] for entry in told if entry.kind == "session"],
        "heads_seen": [
            {key: entry.facts[key] for key in ("peer", "size", "root", "time", "verdict")} for entry in told if entry.kind == "heads seen"
        ],
        "vault_openings": [{"time": entry.time, **entry.facts} for entry in told if entry.kind == "vault"],
        "log": {
            "entries": report.size, "root": report.root.hex(), "found": [str(finding) for finding in report.findings],
            "notes": list(report.notes),
        },
    }  # fmt: skip


def _contents(folder: Path, stored: Results | None) -> dict[str, bytes]:
    paths = {name: folder / name for name in (stored.files if stored else ())}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def _as_logged(folder: Path, stored: Results | None, logged: str) -> dict[str, Any]:
    """Whether the files are those that the index lists, and the index what the log's last entry of the run has."""
    if stored is None:
        return {"verdict": "no results of this run lie here", "changed": [], "deleted": [], "sound": True}
    paths = {name: folder / name for name in stored.files}
    deleted = sorted(name for name, path in paths.items() if not path.exists())
    changed = sorted(
        name for name, path in paths.items() if name not in deleted and suite.plain_digest(path.read_bytes()).hex() != stored.files[name]
    )
    if not logged:
        verdict = "the log has no digest of them"
    elif stored.digest != logged:
        verdict = f"{INDEX} is not what the log says the run left"
    else:
        verdict = "changed since the run" if changed else "as the run left them, by the log"
    return {"verdict": verdict, "changed": changed, "deleted": deleted, "sound": not changed and logged in ("", stored.digest)}
