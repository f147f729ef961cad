"""Binning across parties: exact goods and bads of every bin, without the label party showing a label or a holder showing a row.

The universe has `size` positions; each party knows those of its own rows (-1: a row that is not in it). One column of 0 and 1 over the
universe stands for one bin of one of the holder's columns, and `encrypted_linear` adds up the label party's secret vector over it:

    1. sizes   Enc(training row)   -> rows of each bin; the holder merges bins below the minimum cohort (`bin_merging`)
    2. bads    Enc(w y)            -> weighted bads of each merged bin; goods = weight - bads
       weight  Enc(w)              -> only where the run is weighted; otherwise the weight is the size

Weights are asked for in the second step and capped with the bads, since weights that restore a bad rate are a function of the label. They
are integers in units of 2^-exponent, so every sum is exact on that grid; without weights counts are exact integers.

The absent bin is what the training rows have beyond the holder's: totals less the present bins, for which the holder asks only if the
absent rows are a cohort. Otherwise it is neutral (WOE 0) and its goods and bads are not released.

Caps, at the label party: label-dependent counts released to one holder, at most a tenth of the bads in training; sizes, at most a tenth of
the training rows (they tell of membership what counts tell of labels). `label_disclosure = true` lifts both to `max_answers`.

With label noise the bads are of labels some of which were turned over (`label_noise`), for every holder the same.

Who learns what: privacy/contracts/binning.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.packing import Columns as Packed
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import hold, own
from federation.kernel.codec import Message
from federation.kernel.errors import ConfigurationError, DataError, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.role import Role, Run
from federation.models.bin_merging import Counts, merge_small
from federation.models.binned import WEIGHT_BITS, Binned, Cap, WeightCode, cut_columns, finish, require_cohort
from federation.models.bins import Bins
from federation.models.label_noise import turned, unbiased
from federation.models.table import Column

Columns = Mapping[str, Column]
Positions = NDArray[np.int64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Place = tuple[str, int]
"""A column's name and the index of one of its bins."""


class Announcement(Message, frozen=True, tag="binning/announcement"):
    """Holder to label party: how many bin sizes it asks for."""

    answers: int


class Terms(Message, frozen=True, tag="binning/terms"):
    """Label party to holder. rows: training rows in the universe; weighted: whether goods and bads are weights; exponent: their grid."""

    rows: int
    weighted: bool
    exponent: int


class Request(Message, frozen=True, tag="binning/request"):
    """Holder to label party, after merging. answers: bins whose goods and bads it asks for; totals: whether its absent bin is a cohort."""

    answers: int
    totals: bool


class Totals(Message, frozen=True, tag="binning/totals"):
    """Label party to holder: goods and bads of all training rows on the weight grid, None if not asked for."""

    goods: int | None
    bads: int | None


# -- the label party --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcomes:
    """The label party's secrets: y (n,) 1 = bad; train (n,) bool; weight (n,) or None for one each; told (n,) bool: the bads that partners are
    told counts of where they were turned over before, None where that is to be done here if the manifest says so.
    """

    y: NDArray[np.int8]
    train: Mask
    weight: NDArray[np.float64] | None = None
    told: Mask | None = None


def bin_label(
    run: Run, holders: tuple[str, ...], columns: Columns, positions: Positions, size: int, outcomes: Outcomes, manifest: Manifest,
    given: Mapping[str, Bins] | None = None,
) -> Role[Binned]:  # fmt: skip
    """The label party's part: answers every holder within the cap, and bins its own columns by the same rules.

    positions: (n,) of its rows in [0, size), or -1; given: bins edited by hand. Raises PolicyRefusal (COHORT; CAP when a holder asks for
    more than is allowed, before anything that depends on a label is sent), DataError, PeerError.
    """
    counted = outcomes.train & (positions >= 0)
    weight = np.ones(len(positions)) if outcomes.weight is None else outcomes.weight
    code = WeightCode.of(weight[counted]) if counted.any() else WeightCode(weighted=False, exponent=0)
    vectors = _Vectors(counted, np.where(counted, code.integers(np.where(counted, weight, 0)), 0), outcomes.y == 1, positions, size)
    require_cohort(run.me, int(counted.sum()), manifest, "training rows")
    if not 0 < vectors.bads.sum() < vectors.weight.sum():
        raise DataError(run.me, "the training rows have one class only", "Bring goods and bads, or another seed or holdout.")
    _require_noise(run.me, manifest, code)
    cap = Cap.of(int(counted.sum()), int((counted & vectors.bad).sum()), manifest.privacy)
    asked = yield from _answer_sizes(run, holders, vectors, code, cap)
    told = turned(run, vectors.bad, manifest.privacy.label_noise) if outcomes.told is None else outcomes.told
    released = yield from _answer_outcomes(run, holders, replace(vectors, bad=told), code, cap)
    plan = cut_columns(columns, manifest, given or {})
    own_counts = {name: _own_counts(bins, columns[name], vectors, manifest) for name, bins in plan.items()}
    encoding, tables = finish(own_counts, manifest, code.exponent)
    return Binned(encoding, tables, int(counted.sum()), sum(asked.values()), sum(released.values()), cap.counts)


@dataclass(frozen=True)
class _Vectors:
    """counted: training rows in the universe, (n,) bool; weight: integers, zero elsewhere; bad: (n,) bool."""

    counted: Mask
    weight: Integers
    bad: Mask
    positions: Positions
    size: int

    @property
    def bads(self) -> Integers:
        return self.weight * self.bad

    def placed(self, vector: Integers) -> Integers:
        """Over the universe, (size,)."""
        out = np.zeros(self.size, np.int64)
        out[self.positions[self.counted]] = vector[self.counted]
        return out


def _answer_sizes(run: Run, holders: tuple[str, ...], vectors: _Vectors, code: WeightCode, cap: Cap) -> Role[dict[str, int]]:
    if not holders:
        return {}
    received = yield from run.step("announcement", expect=dict.fromkeys(holders, Announcement))
    asked = {holder: received.of(holder, Announcement).answers for holder in holders}
    for holder, answers in asked.items():
        _require_count(holder, answers)
        cap.check(run.me, holder, answers, cap.sizes, "bin sizes")
    terms = Terms(int(vectors.counted.sum()), code.weighted, code.exponent)
    yield from run.step("terms", send=dict.fromkeys(holders, terms))
    yield from own(run.within("sizes"), asked, vectors.placed(vectors.counted.astype(np.int64)), 0)
    return asked


def _answer_outcomes(run: Run, holders: tuple[str, ...], vectors: _Vectors, code: WeightCode, cap: Cap) -> Role[dict[str, int]]:
    if not holders:
        return {}
    received = yield from run.step("request", expect=dict.fromkeys(holders, Request))
    requests = {holder: received.of(holder, Request) for holder in holders}
    asked = {holder: request.answers for holder, request in requests.items()}
    released = {holder: answers * (2 if code.weighted else 1) for holder, answers in asked.items()}
    for holder, answers in released.items():
        _require_count(holder, answers)
        cap.check(run.me, holder, answers, cap.counts, "label-dependent counts")
    bads = vectors.bads
    told = Totals(int((vectors.weight - bads).sum()), int(bads.sum()))
    yield from run.step("totals", send={holder: told if requests[holder].totals else Totals(None, None) for holder in holders})
    if code.weighted:
        yield from own(run.within("weights"), asked, vectors.placed(vectors.weight), code.bits)
    yield from own(run.within("bads"), asked, vectors.placed(bads), code.bits)
    for holder, answers in released.items():
        run.report(phase="binning", holder=holder, released_counts=answers, allowed_counts=cap.counts)
    return released


def _require_noise(me: str, manifest: Manifest, code: WeightCode) -> None:
    """Raises PolicyRefusal for label noise in a weighted run: weights are told without noise, and may be a function of the label."""
    if manifest.privacy.label_noise is not None and code.weighted:
        what = "label noise in a weighted run, whose weights may tell the label without any"
        raise PolicyRefusal(me, what, "Nothing that depends on a label was sent. Leave out [sample] weight, or label_noise.")


def _own_counts(bins: Bins, column: Column, vectors: _Vectors, manifest: Manifest) -> tuple[Bins, Counts]:
    """Counts of one of the label party's own columns, (size, 3), with bins below the cohort merged."""
    table = np.column_stack([vectors.counted.astype(np.int64), vectors.weight - vectors.bads, vectors.bads])
    counts = np.zeros((bins.size, 3), np.int64)
    np.add.at(counts, bins.codes(column), table)
    return merge_small(bins, counts, manifest.privacy.minimum_cohort)


def _require_count(holder: str, answers: int) -> None:
    if answers < 1:
        raise PeerError(holder, "a request for less than one answer", "at least one bin")


# -- a holder ---------------------------------------------------------------------------------------------------------------------


def bin_holder(
    run: Run, label_party: str, columns: Columns, positions: Positions, size: int, manifest: Manifest,
    given: Mapping[str, Bins] | None = None,
) -> Role[Binned]:  # fmt: skip
    """A holder's part: asks for the sizes of its bins, merges, asks for their goods and bads, and holds the tables.

    positions: (n,) of its rows in [0, size), or -1; given: bins edited by hand, used instead of quantiles. Raises PolicyRefusal (COHORT
    when fewer than the minimum cohort of its rows train), PeerError when the answers contradict each other.
    """
    if not columns:
        raise ConfigurationError(run.me, "binning was asked of a party without columns", "Leave this party out of binning.")
    asking = _Asking(run, label_party, columns, positions, size)
    plan = cut_columns(columns, manifest, given or {})
    terms, sizes, asked = yield from _ask_sizes(asking, plan, manifest)
    matched = next(int(counts.sum()) for counts in sizes.values())
    require_cohort(run.me, matched, manifest, "training rows that this party has")
    merged: dict[str, tuple[Bins, Counts]] = {}
    for name, bins in plan.items():
        counts = np.append(sizes[name], terms.rows - matched)[:, None]
        merged[name] = merge_small(bins, counts, manifest.privacy.minimum_cohort)
    counted, released = yield from _ask_outcomes(asking, merged, terms, manifest)
    encoding, tables = finish(counted, manifest, terms.exponent)
    run.report(phase="binning", released_counts=released)
    return Binned(encoding, tables, matched, asked, released)


@dataclass(frozen=True)
class _Asking:
    """A holder's side of encrypted_linear: bins become columns of 0 and 1 over the universe."""

    run: Run
    label_party: str
    columns: Columns
    positions: Positions
    size: int

    def codes(self, bins: Bins) -> Integers:
        """The bin of each own row in the universe."""
        return bins.codes(self.columns[bins.column])[self.positions >= 0]

    def indicators(self, plan: Mapping[str, Bins], places: list[Place], bits: int = 0) -> Transforms:
        """Where this party's rows are in each place, for sums of a vector of magnitude at most 2^bits."""
        inside = self.positions[self.positions >= 0]
        codes = {name: self.codes(bins) for name, bins in plan.items()}
        indicators = np.zeros((self.size, len(places)), np.int64)
        for number, (name, place) in enumerate(places):
            indicators[inside, number] = codes[name] == place
        return Transforms(Packed(indicators, np.zeros(len(places), np.int64), bits))

    def sums(self, step: str, indicators: Transforms) -> Role[list[int]]:
        """The label party's vector, added up over each place."""
        return (yield from hold(self.run.within(step), self.label_party, indicators))


def _ask_sizes(asking: _Asking, plan: Mapping[str, Bins], manifest: Manifest) -> Role[tuple[Terms, dict[str, Integers], int]]:
    """Terms, training rows of each present bin (size - 1,), and how many were asked for: those in which the holder has a row."""
    run, label_party = asking.run, asking.label_party
    held = {name: np.bincount(asking.codes(bins), minlength=bins.absent) for name, bins in plan.items()}
    places = [(name, place) for name, rows in held.items() for place in np.flatnonzero(rows).tolist()]
    require_cohort(run.me, int((asking.positions >= 0).sum()), manifest, "rows of this party in the universe")
    received = yield from run.step("announcement", send={label_party: Announcement(len(places))}, expect={label_party: Terms})
    terms = received.of(label_party, Terms)
    if not 0 < terms.rows <= asking.size or abs(terms.exponent) > 1100 or (terms.exponent and not terms.weighted):
        raise PeerError(label_party, "terms out of range", "training rows within the universe and a grid")
    answers = yield from asking.sums("sizes", asking.indicators(plan, places))
    sizes = {name: np.zeros(bins.absent, np.int64) for name, bins in plan.items()}
    for (name, place), answer in zip(places, answers, strict=True):
        if not 0 <= answer <= held[name][place]:
            raise PeerError(label_party, "a bin size out of range", "at most this party's rows of the bin")
        sizes[name][place] = answer
    sums = {int(rows.sum()) for rows in sizes.values()}
    if len(sums) > 1 or max(sums) > terms.rows:
        raise PeerError(label_party, "bin sizes that contradict each other", "the same training rows in every column")
    return terms, sizes, len(places)


def _ask_outcomes(
    asking: _Asking, merged: Mapping[str, tuple[Bins, Counts]], terms: Terms, manifest: Manifest
) -> Role[tuple[dict[str, tuple[Bins, Counts]], int]]:
    """Bins with counts (size, 3) of rows, goods and bads, absent last; and how many label-dependent counts that took."""
    run, label_party = asking.run, asking.label_party
    plan = {name: bins for name, (bins, _) in merged.items()}
    places = [(name, place) for name, (_, rows) in merged.items() for place in np.flatnonzero(rows[:-1, 0]).tolist()]
    rest = next(int(rows[-1, 0]) for _, rows in merged.values())
    request = Request(len(places), rest >= manifest.privacy.minimum_cohort)
    received = yield from run.step("request", send={label_party: request}, expect={label_party: Totals})
    totals = received.of(label_party, Totals)
    sizes = [int(merged[name][1][place, 0]) for name, place in places]
    bits = WEIGHT_BITS if terms.weighted else 0
    indicators = asking.indicators(plan, places, bits)
    weights = (yield from asking.sums("weights", indicators)) if terms.weighted else sizes
    bads = yield from asking.sums("bads", indicators)
    out = {name: (bins, np.column_stack([rows, np.zeros((bins.size, 2), np.int64)])) for name, (bins, rows) in merged.items()}
    for (name, place), rows_, weight, bad in zip(places, sizes, weights, bads, strict=True):
        if not 0 <= bad <= weight <= rows_ << bits:
            raise PeerError(label_party, "goods or bads out of range", "bads within the weight, and the weight within the rows' grid")
        out[name][1][place, 1:] = weight - bad, bad
    if len({tuple(counts[:, 1:].sum(axis=0).tolist()) for _, counts in out.values()}) > 1:
        raise PeerError(label_party, "goods and bads that contradict each other", "the same goods and bads in every column")
    for name, (bins, counts) in out.items():
        counts[-1, 1:] = _absent(label_party, request, totals, counts, terms)
        out[name] = bins, unbiased(counts, manifest.privacy.label_noise)
    return out, len(places) * (2 if terms.weighted else 1)


def _absent(label_party: str, request: Request, totals: Totals, counts: Counts, terms: Terms) -> tuple[int, int]:
    """Goods and bads of the absent bin: totals less the present bins, zero where not asked for."""
    if not request.totals:
        return 0, 0
    if totals.goods is None or totals.bads is None:
        raise PeerError(label_party, "no totals", "goods and bads of all training rows")
    goods, bads = totals.goods - int(counts[:-1, 1].sum()), totals.bads - int(counts[:-1, 2].sum())
    rows = int(counts[-1, 0])
    if goods < 0 or bads < 0 or (goods + bads != rows if not terms.weighted else goods + bads > rows << WEIGHT_BITS):
        raise PeerError(label_party, "totals that contradict the bins", "goods and bads of all training rows")
    return goods, bads


__all__ = ["Binned", "Outcomes", "bin_holder", "bin_label"]
