"""The validator's view of a run, at one institution: what the model rests on, its own part of it, and of partners what they agreed to show.

    lineage       manifest, contracts, snapshots and signatures, sessions, peers' heads, the log and what verifying it found
    own           columns with bins, weights of evidence, points and coefficients of this institution
    partners      of their columns what the manifest's partner_disclosure allows, as they sent it at the run's end (at the label party alone)
    sensitivity, stability, metrics with out of time   at the label party, which alone has the labels and the split
    replay        whether the results come out again from the journal

No record and no score of a firm is in it. The log says that it was made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from clients.home import Home
from clients.node import Node
from clients.recorded import INDEX, Recorded, Results, read_results
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.manifest import Manifest
from privacy import contracts
from privacy.audit.entry import Entry
from privacy.audit.verify import verify
from privacy.store.audit_folder import find

SHOWN: Final = {
    "direction": "whether risk rises or falls with each column", "edges": "the direction, and the bins by name",
    "full": "the direction, the bins by name, their rows, goods, bads and weights of evidence",
}  # fmt: skip
SAME, OTHER = "the same results", "other results than the run's"


def pack(home: Home, run: str, *, replay: bool = False) -> dict[str, Any]:
    """The document, as JSON values. Raises ConfigurationError where this node knows no such run, DataError where neither its results nor its
    journal are there.
    """
    node = Node(home.root)
    manifest, outcome = _manifest(node, run)
    told = list(node.gate.log.entries(run))
    recorded = next(
        (entry.facts for entry in reversed(told) if entry.kind == "end" and entry.facts.get("manifest") == manifest.hash.hex()), {}
    )
    found = read_results(home)
    stored = found if found is not None and found.manifest == manifest.hash.hex() else None
    again, said = _replayed(node, run, stored, str(recorded.get("results", ""))) if replay else ({}, {"verdict": "not asked for"})
    if stored is None and not again:
        of = "nobody" if found is None else f"run {found.run}, a later one"
        more = f" {said['verdict']}." if replay else ""
        raise DataError(node.name, f"the results in its folder are of {of}.{more}", "Give --replay: the journal has them while it is kept.")
    made_again = stored is None or said["verdict"] == SAME  # what comes out again is better than files that someone may have touched
    contents = again if made_again else _contents(home, stored)
    files = {name: json.loads(content) for name, content in contents.items() if name.endswith(".json")}
    document = {
        "format": 1, "institution": node.name, "run": run, "outcome": outcome, "manifest_hash": manifest.hash.hex(),
        "lineage": _lineage(node, manifest, told), **_model(manifest, node.name, files),
        "results": {"files": dict(stored.files) if stored else {}, **_as_logged(home, stored, str(recorded.get("results", "")))},
        "replay": said,
    }  # fmt: skip
    digest = suite.plain_digest(msgspec.json.encode(document, order="sorted")).hex()
    node.gate.log.append("pack", run, manifest=manifest.hash.hex(), digest=digest, replay=replay)
    node.gate.log.sync()
    node.close()
    return document | {"digest": digest}


def _manifest(node: Node, run: str) -> tuple[Manifest, str]:
    """The last manifest of that name which was signed here, and what became of it."""
    events = [event for event in node.gate.approvals.events() if event.run == run]
    manifest = next((found for event in reversed(events) if (found := node.gate.approvals.signed(event.manifest)) is not None), None)
    if manifest is None:
        raise ConfigurationError(node.name, "it has signed no run of that name, or retention has deleted it", "See `creditfed audit show`.")
    return manifest, [event.event for event in events if event.manifest == manifest.hash.hex()][-1]


def _lineage(node: Node, manifest: Manifest, told: Sequence[Entry]) -> dict[str, Any]:
    report = verify(find(node.home.root).log(node.name), {suite.signing_public(node.identity)})
    signed = [entry.facts for entry in told if entry.kind == "approval" and entry.facts.get("manifest") == manifest.hash.hex()]
    return {
        "manifest": msgspec.to_builtins(manifest),
        "contracts": [
            {"name": name, "title": contracts.load(name).title, "digest": suite.plain_digest(msgspec.json.encode(contracts.load(name))).hex()}
            for name in manifest.contracts if name in contracts.names()
        ],
        "snapshots": {str(facts["party"]): facts["snapshot"] for facts in signed if "snapshot" in facts},
        "signatures": {str(facts["party"]): facts["signature"] for facts in signed if "signature" in facts},
        "approved_here_by": sorted({str(facts["by"]) for facts in signed if "by" in facts}),
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


def _model(manifest: Manifest, me: str, files: dict[str, Any]) -> dict[str, Any]:
    """From the results: this institution's own part, what partners show, and the label party's figures."""
    share, validation, metrics = files.get("share.json", {}), files.get("validation.json", {}), files.get("metrics.json")
    label, mine = manifest.party(me).label, share.get("own", {})  # a bank among banks has its own part of the common model
    bank = mine.get("models", {}).get(share.get("variant"), {})
    points = share.get("points") or mine.get("points", {})
    only = "This institution has neither labels nor the split: the label party's pack has them."
    return {
        "own": {
            **bank, **share,
            "points_range": {
                part["bins"]["column"]: [min(part["points"]), max(part["points"])] for part in points.get("characteristics", ())
            },
        },
        "partners": {
            "partner_disclosure": manifest.privacy.partner_disclosure, "shows": SHOWN[manifest.privacy.partner_disclosure],
            "columns": validation.get("partners", {}),
        },
        "sensitivity": validation.get("sensitivity", {}), "stability": validation.get("stability", {}), "metrics": metrics or {},
        "out_of_time": (metrics or {}).get("out_of_time", {}), "note": "" if label else only,
        "withdrawals": share.get("withdrawals", []),
    }  # fmt: skip


def _contents(home: Home, stored: Results | None) -> dict[str, bytes]:
    paths = {name: home.root / "results" / name for name in (stored.files if stored else ())}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def _as_logged(home: Home, stored: Results | None, logged: str) -> dict[str, Any]:
    """Whether the files are those that the index lists, and the index what the log's last entry of the run has."""
    if stored is None:
        return {"verdict": "a later run's results lie in the folder", "changed": [], "deleted": [], "sound": True}
    paths = {name: home.root / "results" / name for name in stored.files}
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


def _replayed(node: Node, run: str, stored: Results | None, logged: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The results made again from the journal's last state and the rows that the vault opens now, and how they compare."""
    try:
        participant = node.replayed(run)
    except DataError as error:
        return {}, {"verdict": f"not possible: {error.what}"}
    node.gate.log.append(
        "vault", run, manifest=participant.manifest.hash.hex(), rows=node.table(participant.manifest).rows, purpose="replay"
    )
    made = Recorded(node.home.root, stored=False)
    again = node.results(participant, made)
    expected = stored.files if stored is not None else {}
    differ = (
        sorted(name for name in again.files.keys() | expected.keys() if again.files.get(name) != expected.get(name)) if expected else []
    )
    same = again.digest == logged if logged else bool(expected) and not differ
    return made.contents, {
        "verdict": SAME if same else OTHER, "model": again.model, "results": again.digest,
        "logged": logged, "differ": differ,
    }  # fmt: skip
