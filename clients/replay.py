"""A finished run's results made again from its journal, and by name whatever of them is not what was released.

A journal keeps one stage: the state between stages, not the messages before. So the state is taken as it stands, and everything that a party
derives from it and from its rows is made anew. That shows that bins, points, figures and scores belong to that state and to these rows. Over
banks the model hash, which all banks found, is made anew too, and so the common model in the state is the one that they agreed on. That the
messages led to that state is not shown: the log has their digests, at sender and receiver (`creditfed audit compare`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from clients.node import Node
from clients.pack_model import own_part
from clients.part import files_of
from clients.recorded import Results
from federation.kernel.errors import DataError

SAME, OTHER = "the same results", "other results than the run's"
_OF_COLUMN: Final = {"bins": "bins", "points": "points", "coefficients": "coefficient"}


def replay(
    node: Node, run: str, stored: Results | None, released: Mapping[str, bytes], recorded: Mapping[str, Any]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The results, and what the pack says of them. released: contents of the files that lie here; recorded: the log's last entry of the run."""
    try:
        again = node.replayed(run)
    except DataError as error:
        return {}, {"verdict": f"not possible: {error.what}"}
    manifest = again.manifest
    node.gate.log.append("vault", run, manifest=manifest.hash.hex(), rows=node.table(manifest).rows, purpose="replay")
    made = files_of(again)
    results = Results.of(again.participant, made)
    expected = stored.files if stored is not None else {}
    differ = (
        sorted(name for name in results.files.keys() | expected.keys() if results.files.get(name) != expected.get(name)) if expected else []
    )
    logged, model = str(recorded.get("results", "")), node.model_hash_again(again)
    names = [*(["model hash"] if model != recorded.get("model", model) else []), *_named(made, released)]
    same = (results.digest == logged if logged else bool(expected) and not differ) and "model hash" not in names
    return made, {
        "verdict": SAME if same else OTHER, "model": model, "results": results.digest, "logged": logged, "differ": differ, "names": names,
    }  # fmt: skip


def _named(made: Mapping[str, bytes], released: Mapping[str, bytes]) -> Iterator[str]:
    """What a reader knows by name and is not in the files that lie here as it was made again: of each column, then files."""
    share = "share.json"
    if share in made and share in released and made[share] != released[share]:
        one, other = (_by_column(raw) for raw in (made[share], released[share]))
        for what, word in _OF_COLUMN.items():
            columns = [*one[what], *(name for name in other[what] if name not in one[what])]
            yield from (f"{word} of {name}" for name in columns if one[what].get(name) != other[what].get(name))
    yield from (name for name in sorted(made.keys() & released.keys()) if made[name] != released[name])


def _by_column(raw: bytes) -> dict[str, dict[str, Any]]:
    """Of a share.json: bins, points and coefficients, each by column; nothing of a file that is none."""
    try:
        own = own_part(json.loads(raw))
    except (ValueError, TypeError, KeyError, AttributeError):
        return {what: {} for what in _OF_COLUMN}
    bins = {
        table["column"]: [{key: value for key, value in row.items() if key != "points"} for row in table["bins"]] for table in own["tables"]
    }
    return {"bins": bins, "points": own["points_by_bin"], "coefficients": own.get("coefficients", {})}
