"""A validator's pack on disk: pack.json, and pack.html, which stands alone: no script, nothing from outside, everything from a run escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from clients.home import Home
from clients.pack import pack
from clients.replay import OTHER
from federation.kernel.errors import DataError

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.3rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid #8886;overflow-wrap:anywhere}"
    "caption{text-align:left;font-weight:600;padding:.3rem .8rem}.note{color:#777}div{overflow-x:auto}"
)
_FIGURES: Final = ("auc", "ks", "gini", "brier", "log_loss", "n", "goods", "bads")
Rows = Iterable[Sequence[object]]


def write_pack(home: Path, run: str, out: Path, who: str, key: Path | None, *, replay: bool) -> None:
    """Make the pack and write it; raises DataError after writing where a replay differs or results are not as the log says."""
    document = pack(Home(home), run, who, key, again=replay)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    (out / "pack.json").write_text(json.dumps(document, indent=1))
    (out / "pack.html").write_text(page(document))
    typer.echo(f"{out}: pack.json, pack.html. Results: {document['results']['verdict']}. Replay: {document['replay']['verdict']}.")
    if not document["results"]["sound"] or document["replay"]["verdict"] == OTHER:
        names = document["replay"].get("names") or document["results"]["changed"]
        what = "the results are not those that the run left, by the audit log" + (f": {', '.join(names)}" if names else "")
        raise DataError(str(out), what, "Do not rely on them: ask the node's operator; the pack says which files differ.")


def page(document: Mapping[str, Any]) -> str:
    """The pack as one HTML page."""
    lineage, manifest = document["lineage"], document["lineage"]["manifest"]
    body = [
        f"<h1>Validator's pack: {_text(document['run'])}</h1>",
        f"<p>Of {_text(document['institution'])}. {_text(document['note'])} No record and no score of a firm is in it.</p>",
        _table("The run", ("", ""), [
            ("task", manifest["task"]), ("model", manifest["model"]), ("purpose", manifest["purpose"]), ("outcome", document["outcome"]),
            ("manifest", document["manifest_hash"]), ("expires", manifest["expires"]), ("code", manifest["code_version"]),
            ("results", document["results"]["verdict"]), ("replay", document["replay"]["verdict"]),
            ("made again and not the same", ", ".join(document["replay"].get("names", ())) or "nothing"),
        ]),
        "<h2>Lineage</h2>",
        _table("Data that each institution signed for", ("institution", "snapshot"), lineage["snapshots"].items()),
        _table("Contracts: who learns what", ("contract", "title", "digest"), [
            (contract["name"], contract["title"], contract["digest"][:16]) for contract in lineage["contracts"]
        ]),
        _table("Peers' logs, as their heads were seen", ("peer", "entries", "root", "verdict"), [
            (head["peer"], head["size"], str(head["root"])[:16], head["verdict"]) for head in lineage["heads_seen"]
        ]),
        _table("This institution's log", ("", ""), [
            ("entries", lineage["log"]["entries"]), ("root", lineage["log"]["root"]), ("approved by", ", ".join(lineage["approved_here_by"])),
            ("found", "; ".join(lineage["log"]["found"]) or "sound"),
        ]),
        "<h2>Own columns</h2>", *_own(document["own"]),
        "<h2>Partners' columns</h2>",
        f"<p>The manifest lets a validator see {_text(document['partners']['shows'])}.</p>", *_partners(document["partners"]["columns"]),
        "<h2>Figures</h2>", _figures(document["metrics"]), *_all_banks(document["all_banks"]),
        "<h2>Sensitivity</h2>",
        "<p class=note>What a column adds to the log odds of bad, 5 % to 95 % of training rows; AUC where it is held still.</p>",
        _table("", ("column", "from", "to", "AUC train", "AUC test", "AUC out of time"), [
            (name, *(found["range"] or ("", "")), *(found["auc"].get(split) for split in ("train", "test", "out_of_time")))
            for name, found in document["sensitivity"].items()
        ]),
        "<h2>Stability</h2>", "<p class=note>PSI against training; by custom below 0.1 is stable, above 0.25 has shifted.</p>",
        _stability(document["stability"]),
    ]  # fmt: skip
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>Validator\'s pack</title>'
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(body)}</body></html>\n'


def _own(own: Mapping[str, Any]) -> list[str]:
    tables = own.get("tables") or []
    out = [
        _table(f"{table['column']}, IV {_text(own['iv'].get(table['column']))}, points {_span(own['points_range'].get(table['column']))}",
               ("bin", "share", "goods", "bads", "WOE", "points"),
               [tuple(row.get(key) for key in ("label", "share", "goods", "bads", "woe", "points"))
                for row in table.get("bins", table.get("rows", ()))])  # over banks they are called rows
        for table in tables
    ]  # fmt: skip
    columns = own.get("statistics", {}).get("columns", ())
    if columns:
        keys = ("name", "kind", "count", "missing", "mean", "deviation")
        out.append(_table("Statistics over all banks", keys, [tuple(column.get(key) for key in keys) for column in columns]))
    rows = [(name, value, own.get("standardized", {}).get(name)) for name, value in own.get("coefficients", {}).items()]
    return [*out, _table("Coefficients", ("column", "in its own units", "standardised"), rows)]


def _span(points: Sequence[object] | None) -> str:
    return "none" if points is None else f"{points[0]} to {points[1]}"


def _partners(partners: Mapping[str, Any]) -> list[str]:
    out = []
    for name, columns in partners.items():
        out.append(_table(name, ("column", "risk"), [(column["column"], column["risk"]) for column in columns]))
        out += [
            _table(f"{name}: {column['column']}", ("bin", "rows", "goods", "bads", "WOE"),
                   [tuple(row.get(key) for key in ("label", "rows", "goods", "bads", "woe")) for row in column["bins"]])
            for column in columns if column["bins"]
        ]  # fmt: skip
    return out or ["<p class=note>Nothing was shown to this institution.</p>"]


def _figures(metrics: Mapping[str, Any]) -> str:
    splits = [(name, found) for name, found in metrics.items() if isinstance(found, dict)]
    return _table("", ("split", *_FIGURES), [(name, *(found.get(key) for key in _FIGURES)) for name, found in splits])


def _all_banks(overall: Mapping[str, Any]) -> list[str]:
    """Over banks, what their sums say of the model on all rows."""
    if not overall:
        return []
    rows = [
        (split, found.get("n"), found.get("bads"), *((found.get(key) or {}).get("value") for key in ("auc", "ks")))
        for split, found in overall.items()
    ]
    return [_table("Over all banks", ("split", "n", "bads", "auc", "ks"), rows)]


def _stability(stability: Mapping[str, Any]) -> str:
    rows = {"score": stability["score"], **stability["columns"]} if stability else {}
    return _table("", ("of", "test", "out of time"), [(name, found.get("test"), found.get("out_of_time")) for name, found in rows.items()])


def _table(caption: str, heads: Sequence[str], rows: Rows) -> str:
    lines = ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return f"<p class=note>{_text(caption)} none.</p>" if caption else "<p class=note>None.</p>"
    head = "<tr>" + "".join(f"<th>{_text(name)}</th>" for name in heads) + "</tr>" if any(heads) else ""
    return f"<div><table><caption>{_text(caption)}</caption>{head}{''.join(lines)}</table></div>"


def _text(value: object) -> str:
    """Escaped; numbers to six digits."""
    return html.escape("–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value))
