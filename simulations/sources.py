"""`creditfed sources`: what each source adds to a model, by ordinary runs with it and without on the same alignment, split and settings.

    DIR/full.toml, DIR/full/                  the run with every source
    DIR/without-NAME.toml, DIR/without-NAME/  a run for each source, with [select] drop_sources and [align] from the full one
    DIR/final.toml, DIR/final/                where source_auc_min drops some: the run without these
    DIR/result.json, report.html              of the model that is left, with the table of sources

Each is a run like any other: its manifest says without which source it is, every institution approves it, and the label party sees its
scores. Where no partner would be left there is no run: the label party fits its own columns alone, and nothing leaves it.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from clients.residents import resident
from clients.source_coverage import coverage, own_coverage
from clients.source_gain import Scored, gained, same_rows, scored
from federation.kernel.errors import AbortCode, ConfigurationError
from federation.kernel.manifest import PartyDeclaration
from federation.models.paired import RESAMPLES, Gain
from server import result as results
from server.report import write_report
from server.report_sources import cost_per_point, to_drop, words
from server.result import SourceFacts
from server.run_file import RunFile, load
from simulations.finished import Finished
from simulations.reference import alone_scores
from simulations.simulate import RunFailed, simulate

WAITING = "waiting.json"
"""Where the last call ended because people have yet to vote: what had finished then is not run again."""
NOT_SERVED = (
    "not measured: without it one partner alone would be left, whose score of each of its own rows the label party would see "
    "(single_partner_disclosure = true accepts that)"
)


@dataclass(frozen=True)
class _Source:
    """parties: that have columns of it; columns: as "party / column"; dropped: what [select] drop_sources then says."""

    name: str
    parties: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    partners: int


@dataclass
class Weighing:
    """The runs of one call. Raises CreditfedError as `simulate` does."""

    run_file: Path
    out: Path
    backend: str = "inline"
    journal: str | None = None
    say: Callable[[str], None] = print

    @cached_property
    def settings(self) -> RunFile:
        """The run file. Raises ConfigurationError for a run in which sources cannot be weighed."""
        found = load(self.run_file, weighing=True)
        if found.run.task != "train" or all(party.label is not None for party in found.parties):
            what = "sources are weighed in a run across parties that trains: over many banks nobody has the scores of all rows"
            raise ConfigurationError(f"{self.run_file.name}: [run]", what, 'Use task = "train" and one [[party]] with a label.')
        return found

    def weigh(self) -> dict[str, Any]:
        """All of it; returns the result as written."""
        settings = self.settings
        done = self._finished_before()
        self._run("full", (), done)
        sources = self._sources()
        self._check_costs(sources)
        found = [self._facts(source, done) for source in sources]
        if all(facts.auc_gain is None for facts in found):
            what = "no source can be weighed: without any one of them a single partner would be left"
            action = "Add a partner, or accept what [privacy] single_partner_disclosure = true discloses."
            raise ConfigurationError(self.run_file.name, what, action)
        least = settings.source_auc_min
        gone = [source for source, facts in zip(sources, found, strict=True) if least is not None and to_drop(facts, least)]
        document = self._document(found, gone, self._final(gone, done))
        results.write(self.out / "result.json", document)
        write_report(self.out)
        (self.out / WAITING).unlink(missing_ok=True)
        return document

    # -- the runs ---------------------------------------------------------------------------------------------------------------------

    def _finished_before(self) -> set[str]:
        """Runs of a call that waited for people, if this is the same one."""
        try:
            kept = json.loads((self.out / WAITING).read_bytes())
        except (OSError, ValueError):
            return set()
        return set(kept["done"]) if kept.get("digest") == self.settings.digest else set()

    def _run(self, name: str, dropped: tuple[str, ...], done: set[str]) -> None:
        """One run into its folder, unless it has finished."""
        if name in done and (self.out / name / "result.json").exists():
            return
        path = self.out / f"{name}.toml"
        self.out.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(self._written(name, dropped)))
        self.say(f"{name}: " + (f"without {', '.join(dropped)}" if dropped else "every source"))
        try:
            simulate(path, self.out / name, backend=self.backend, journal=self.journal)
        except RunFailed as failure:
            if failure.code == AbortCode.APPROVAL:
                (self.out / WAITING).write_text(json.dumps({"digest": self.settings.digest, "done": sorted(done)}))
            raise
        done.add(name)

    def _written(self, name: str, dropped: tuple[str, ...]) -> dict[str, Any]:
        """The run file of one run: paths absolute, and without what only this command reads."""
        raw = tomllib.loads(self.run_file.read_text())
        for section in raw["party"]:
            for key in {"source", "bins", "consents"} & section.keys():
                section[key] = str((self.run_file.parent / section[key]).resolve())
        select = {key: value for key, value in raw.get("select", {}).items() if key != "source_auc_min"}
        also = tuple(select.get("drop_sources", ()))
        select |= {"drop_sources": [*also, *dropped]} if also or dropped else {}
        align = dict(raw.get("align", {}))
        if name != "full":
            align["from"] = str((self.out / "full").resolve())
        elif "from" in align:
            align["from"] = str((self.run_file.parent / align["from"]).resolve())
        tables = {"select": select, "align": align}
        return {key: value for key, value in raw.items() if key not in tables} | {key: value for key, value in tables.items() if value}

    # -- what there is to weigh ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _full(self) -> Finished:
        folder = self.out / "full"
        conduct = json.loads((folder / "coordinator" / "conduct.json").read_bytes())
        homes = {party["name"]: folder / "parties" / party["name"] for party in conduct["manifest"]["parties"]}
        return Finished.read(folder, homes, conduct, [])

    @cached_property
    def _scored(self) -> Scored:
        home = self._full.homes[self._full.manifest.label_party]
        return scored(home, resident(home).table(self._full.manifest))

    def _sources(self) -> list[_Source]:
        """Every source in the manifest of the full run, in its order."""
        parties = self._full.manifest.parties
        names = dict.fromkeys(party.source_of(column) for party in parties for column in party.columns)
        found = []
        for name in names:
            having = tuple(party for party in parties if party.without((name,)) != party)
            bare = [party for party in having if not party.label and not party.without((name,)).columns]
            columns = tuple((p.name, c.name) for p in having for c in p.columns if p.source_of(c) == name)
            dropped = _names((name,), having, bare)
            partners = sum(not party.label for party in parties) - len(bare)
            found.append(_Source(name, tuple(party.name for party in having), columns, dropped, partners))
        return found

    def _check_costs(self, sources: list[_Source]) -> None:
        for party in self.settings.parties:
            for name in party.costs:
                if not any(source.name == name and party.name in source.parties for source in sources):
                    where, own = f"{self.run_file.name}: [[party]] {party.name} costs", [s.name for s in sources if party.name in s.parties]
                    raise ConfigurationError(where, f"it has no source {name!r}", f"Its sources are {', '.join(own) or 'none'}.")

    # -- what each adds -----------------------------------------------------------------------------------------------------------------

    def _facts(self, source: _Source, done: set[str]) -> SourceFacts:
        full, settings = self._full, self.settings
        prices = [party.costs[source.name] for party in settings.parties if source.name in party.costs]
        cost = sum(prices) if prices else None
        share, counted = self._coverage(source)
        known: dict[str, Any] = {
            "name": source.name, "parties": list(source.parties), "columns": [f"{party} / {column}" for party, column in source.columns],
            "coverage": share, "coverage_of": counted, "cost": cost,
        }  # fmt: skip
        if source.partners == 1 and not full.manifest.privacy.single_partner_disclosure:
            return SourceFacts(**known, verdict=NOT_SERVED)
        scores, manifest = self._without(source, done)
        gain = gained(self._scored, scores, full.manifest.seed)
        return SourceFacts(
            **known, **_measured(gain), cost_per_point=cost_per_point(gain.auc, cost), verdict=words(gain.auc, cost), manifest_hash=manifest
        )

    def _without(self, source: _Source, done: set[str]) -> tuple[NDArray[np.float64], str | None]:
        """The label party's scores without the source, and the manifest's hash where it took a run."""
        if source.partners == 0:
            return alone_scores(self._full), None
        name = f"without-{source.name}"
        self._run(name, source.dropped, done)
        return self._read(name)

    def _read(self, name: str) -> tuple[NDArray[np.float64], str]:
        """A run's scores in the order of the full one's."""
        folder, label = self.out / name, self._full.manifest.label_party
        other = scored(folder / "parties" / label, resident(self._full.homes[label]).table(self._full.manifest))
        return same_rows(self._scored, other), str(json.loads((folder / "result.json").read_bytes())["manifest_hash"])

    def _coverage(self, source: _Source) -> tuple[float | None, str]:
        """The best that one of its parties tells."""
        full, label = self._full, self._full.manifest.label_party
        rows = int(full.shares[label]["matched"])
        told = []
        for party in source.parties:
            columns = {column for name, column in source.columns if name == party}
            if party == label:
                told.append(own_coverage(resident(full.homes[label]).table(full.manifest), columns))
            else:
                told.append(coverage(full.shares[party], columns, rows))
        return max(told, key=lambda one: -1.0 if one[0] is None else one[0])

    # -- the model that is left -----------------------------------------------------------------------------------------------------------

    def _final(self, gone: list[_Source], done: set[str]) -> tuple[str, Gain | None]:
        """The folder of the model that is left, and what all sources together add to it."""
        if not gone:
            return "full", None
        parties = self._full.manifest.parties
        names = tuple(source.name for source in gone)
        bare = [party for party in parties if not party.label and not party.without(names).columns]
        partners = sum(not party.label for party in parties) - len(bare)
        if partners == 0 or (partners == 1 and not self._full.manifest.privacy.single_partner_disclosure):
            what = f"source_auc_min drops {', '.join(names)}, and {'no partner is' if partners == 0 else 'one partner alone is'} left"
            action = "Lower it, or fit the label party's own model." if partners == 0 else "Lower it, or accept single_partner_disclosure."
            raise ConfigurationError(f"{self.run_file.name}: [select] source_auc_min", what, action)
        self._run("final", _names(names, parties, bare), done)
        return "final", gained(self._scored, self._read("final")[0], self._full.manifest.seed)

    def _document(self, found: list[SourceFacts], gone: list[_Source], final: tuple[str, Gain | None]) -> dict[str, Any]:
        folder, gain = final
        dropped = {source.name for source in gone}
        document: dict[str, Any] = json.loads((self.out / folder / "result.json").read_bytes())
        if (self.out / folder / "curves.json").exists():
            shutil.copyfile(self.out / folder / "curves.json", self.out / "curves.json")
        judged = self._scored.split == self._scored.judged
        document["run"]["name"] = self.run_file.stem
        document["sources"] = {
            "split": self._scored.judged, "rows": int(judged.sum()), "firms": len(set(self._scored.firm[judged])), "resamples": RESAMPLES,
            "seed": self._full.manifest.seed, "source_auc_min": self.settings.source_auc_min, "dropped": sorted(dropped), "folder": folder,
            "final_auc_gain": gain and gain.auc.gain, "final_auc_interval": gain and [gain.auc.low, gain.auc.high],
            "found": [_plain(facts) | ({"dropped": True} if facts.name in dropped else {}) for facts in found],
        }  # fmt: skip
        return document


def _names(sources: tuple[str, ...], parties: Iterable[PartyDeclaration], bare: Collection[PartyDeclaration]) -> tuple[str, ...]:
    """What drop_sources says: a party that would be left bare by its own name, and a source where some other party has it."""
    elsewhere = {party.source_of(column) for party in parties if party not in bare for column in party.columns}
    return tuple(dict.fromkeys((*(name for name in sources if name in elsewhere), *(party.name for party in bare))))


def _measured(gain: Gain) -> dict[str, Any]:
    auc, ks = gain.auc, gain.ks
    return {
        "auc_with": auc.with_it, "auc_without": auc.without, "auc_gain": auc.gain, "auc_interval": (auc.low, auc.high),
        "ks_with": ks.with_it, "ks_without": ks.without, "ks_gain": ks.gain, "ks_interval": (ks.low, ks.high),
    }  # fmt: skip


def _plain(facts: SourceFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in SourceFacts.__struct_fields__}
