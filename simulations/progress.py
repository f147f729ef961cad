"""What a simulation shows while it runs: phase, iteration, loss, time left; an estimate before; a table after. Quiet when not a terminal."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from clients.party_config import PartyConfig
from clients.vault import describe_table
from federation.align.union import padded
from federation.kernel.errors import CreditfedError
from federation.kernel.manifest import CHECKS
from server.report_banks import MODELS, side_by_side
from server.result import SPLITS, Cost, Metrics, Result, RunFacts
from server.run_file import RunFile
from simulations.estimate import bank_sums, estimate, estimate_banks, estimate_check

STEPS = {
    "levels": "levels", "bins": "bins", "design": "means and products", "fit": "fit", "compare": "other models", "cells": "score cells",
    "done": "end",
}  # fmt: skip


class Screen:
    """One bar for the run. Each institution's figures reach it as they would reach that institution's own screen."""

    def __init__(self, settings: RunFile) -> None:
        self._settings = settings
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.fields[figures]}"), TimeElapsedColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=1.0, figures="")
        self._fit_started: float | None = None
        self._lengths: list[float] = []
        self._done = 0.0
        self.history: list[dict[str, float | int]] = []

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def coordinator(self, stage: str, exchanges: int) -> None:
        """The coordinator's stage and how many exchanges there were."""
        phase = stage.split(" ", maxsplit=1)[0]
        share = {"open": 0.02, "group": 0.04, "align": 0.1, "place": 0.1, "encode": 0.3, "levels": 0.05, "finish": 0.97}.get(phase)
        if phase == "fit" and self._fit_started is None:
            self._show(f"prepare the fit (exchange {exchanges})", 0.32)
        if share is not None:
            self._show(f"{phase} (exchange {exchanges})", share)

    def _show(self, description: str, share: float, figures: str = "") -> None:
        """The bar never goes back."""
        self._done = max(self._done, share)
        self._bar.update(self._task, description=description, completed=self._done, figures=figures)

    def party(self, name: str, figures: dict[str, float | str]) -> None:
        """An institution's figures."""
        if figures.get("phase") == "align" and figures.get("total"):
            share = float(figures["done"]) / float(figures["total"])
            self._show("align", 0.05 + 0.2 * share, f"{name} {share:.0%}")
        if figures.get("phase") == "sum":
            self._summed(figures)
        if figures.get("phase") == "fit" and "loss" in figures:
            self._fitted(figures)

    def _fitted(self, figures: dict[str, float | str]) -> None:
        now = time.monotonic()
        self._fit_started = self._fit_started or now
        self._lengths.append(float(figures["step"]))
        self.history.append({"iteration": int(figures["iteration"]), "loss": float(figures["loss"]), "step": float(figures["step"])})
        left = self._left(now)
        text = f"loss {float(figures['loss']):.6f}" + (f"  about {left:.0f} s left" if left else "")
        gone = now - self._fit_started
        done = 0.35 + 0.6 * (gone / (gone + left) if left is not None and gone + left else len(self._lengths) / 50)
        self._show(f"fit, iteration {int(figures['iteration'])}", min(0.95, done), text)

    def _summed(self, figures: dict[str, float | str]) -> None:
        """A masked sum over many banks begins: what for, at how many banks, and how long it may take still."""
        number, now = int(figures["number"]), time.monotonic()
        self._fit_started = self._fit_started or now
        expected = max(bank_sums(self._settings), number + 2)
        left = (now - self._fit_started) / number * (expected - number) if number >= 3 else None
        iteration = f", iteration {int(figures['iteration'])}" if "iteration" in figures else ""
        step = str(figures.get("step", ""))
        text = f"{int(figures['banks'])} banks" + (f"  about {left:.0f} s left" if left else "")
        purpose = STEPS.get(step, step)
        description = f"sum {number + 1}" + (f": {purpose}{iteration}" if purpose else "")
        self._bar.update(self._task, description=description, completed=0.05 + 0.9 * number / expected, figures=text)

    def _left(self, now: float) -> float | None:
        """From the rate at which the direction shrinks: how many iterations until the tolerance."""
        if len(self._lengths) < 3 or self._fit_started is None or self._lengths[-1] <= 0 or self._lengths[0] <= self._lengths[-1]:
            return None
        rate = (math.log(self._lengths[0]) - math.log(self._lengths[-1])) / (len(self._lengths) - 1)
        missing = (math.log(self._lengths[-1]) - math.log(self._settings.model.tolerance)) / rate
        return max(0.0, missing) * (now - self._fit_started) / (len(self._lengths) - 1)

    def estimate(self, configs: Mapping[str, PartyConfig]) -> None:
        """What the run will roughly take, before it starts; nothing where a source cannot be read, which the run will say itself."""
        try:
            facts = {name: describe_table(config) for name, config in configs.items()}
        except CreditfedError:
            return
        rows = {name: fact.rows for name, fact in facts.items()}
        if self._settings.run.task in CHECKS:
            pad = self._settings.check.pad
            seconds, megabytes = estimate_check({name: padded(count, pad, len(rows)) for name, count in rows.items()})
        elif all(party.label for party in self._settings.parties):
            kinds = [column.kind for column in next(iter(facts.values())).columns]
            seconds, megabytes = estimate_banks(rows, kinds.count("numeric"), kinds.count("categorical"), self._settings)
        else:
            seconds, megabytes = estimate(rows, {name: len(fact.columns) for name, fact in facts.items()}, self._settings)
        self._console.print(f"Estimate: about {seconds:.0f} s on this machine and {megabytes:.0f} MB between the parties.")

    def summary(self, result: Result, out: Path, *, pooled: bool = False) -> None:
        """The result as a table people can read at a glance. pooled: whether the comparison was asked for."""
        console = Console()
        if result.metrics is not None:
            console.print(_figures(result, result.metrics))
        for table in _side_by_side(result):
            console.print(table)
        if found := result.statistics:
            console.print(f"Statistics of {len(found['columns'])} columns over {found['rows']:,} rows, opened in {found['sums']} sums.")
        if result.check is not None:
            console.print(f"{result.check.flagged:,} of {result.check.asked:,} flagged: {out / result.check.file}", markup=False)
        if self._settings.run.task == "binning":
            console.print(f"Bins of each party, to edit by hand: {out / 'bins'}", markup=False)
        if pooled and result.pooled is None:
            console.print(f"note: --pooled fits the model again; a {self._settings.run.task} run has none to compare.")
        if result.pooled is not None and result.pooled.max_difference is not None:
            console.print(f"largest coefficient difference to the pooled fit: {result.pooled.max_difference:.1e} (standardised units)")
        for note in result.notes or ():
            console.print(f"note: {note}", markup=False)
        cost = result.cost or Cost()
        sent = sum((cost.bytes_sent or {}).values()) / 1e6
        console.print(f"{cost.seconds_total or 0:.1f} s, {sent:.1f} MB sent. Report: {out / 'report.html'}", markup=False)


class Followed:
    """Figures of institutions in other processes, from their homes (`simulations.ray_client`) to the screen; a watcher of the coordinator.

    A node that is made anew reports again what it had reported: a line counts once.
    """

    def __init__(self, screen: Screen, files: Mapping[str, Path]) -> None:
        self._screen, self._files = screen, dict(files)
        self._read = dict.fromkeys(files, 0)
        self._seen: dict[str, set[str]] = {name: set() for name in files}

    def __call__(self, _stage: str, _exchanges: int) -> None:
        """What has been added since."""
        for name, path in self._files.items():
            if not path.exists() or path.stat().st_size == self._read[name]:
                continue
            with path.open("rb") as file:
                file.seek(self._read[name])
                whole, end, _ = file.read().rpartition(b"\n")  # the last line may be half written
            self._read[name] += len(whole) + len(end)
            for line in whole.decode().splitlines():
                if line not in self._seen[name]:
                    self._seen[name].add(line)
                    self._screen.party(name, json.loads(line))


def _figures(result: Result, metrics: Metrics) -> Table:
    """Figures by split; beside them the pooled ones, and across parties those of the label party's own columns."""
    columns: list[tuple[str, Metrics | None, str]] = [("AUC", metrics, "auc"), ("KS", metrics, "ks")]
    if result.pooled is not None:
        columns += [("pooled AUC", result.pooled.metrics, "auc"), ("pooled KS", result.pooled.metrics, "ks")]
    if result.pooled is not None and result.banks is None:
        columns.append(("bank alone AUC", result.pooled.label_party_alone, "auc"))
    model = result.run.model if isinstance(result.run, RunFacts) else None
    table = Table(title=f"{model} · {'converged' if result.converged else 'NOT converged'}")
    table.add_column("sample")
    for heading in ("rows", *(heading for heading, _, _ in columns)):
        table.add_column(heading, justify="right")
    for split in SPLITS:
        if rows := _figure(metrics, split, "n"):
            table.add_row(split, f"{rows:,}", *(_digits(_figure(found, split, name)) for _, found, name in columns))
    return table


def _figure(metrics: Metrics | None, split: str, name: str) -> Any:
    """One figure; None where it is not there."""
    return getattr(getattr(metrics, split, None), name, None)


def _side_by_side(result: Result) -> list[Table]:
    """Of a run over many banks, each model on the banks' own rows: means over the banks, and all rows together."""
    tables = []
    for side in side_by_side(result.banks):
        table = Table(title=f"Banks side by side, {side.split} rows of {len(side.rows)} banks")
        for heading in ("model", "mean AUC", "mean KS", "best AUC at", "all banks AUC", "all banks KS"):
            table.add_column(heading, justify="right" if heading != "model" else "left")
        for model in side.models:
            whole = [None if side.overall is None else side.overall.value(figure, model) for figure in ("auc", "ks")]
            best = side.best_at("auc", model)
            table.add_row(
                MODELS.get(model, model), _digits(side.mean("auc", model)), _digits(side.mean("ks", model)),
                f"{best} bank{'' if best == 1 else 's'}", *map(_digits, whole),
            )  # fmt: skip
        tables.append(table)
    return tables


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
