"""From a party's raw columns to its block of the design: moments or weights of evidence first, then numbers.

For a logistic fit on plain columns each holder needs the mean and spread of its columns over the *training* rows, whose membership is the
label party's secret: encrypted sums of the weights with x and x^2. For a scorecard the same call gives goods and bads (see `binning`).

Who learns what: a feature party learns, for its own columns, the weighted training sums of x and x^2 and how many of its rows train; and of
the label party the training weight W and the share of bads. The label party learns how many sums each partner asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import hold, own
from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.role import Role, Run
from federation.models.binned import Binned
from federation.models.binning import Outcomes, bin_holder, bin_label
from federation.models.bins import Bins
from federation.models.encoding import Encoding, plain, rows_of
from federation.models.label_noise import turned, unbiased_share
from federation.models.prepare import Encoded, design_columns, training_labels
from federation.models.sample import Sample
from federation.models.table import Table
from federation.models.woe import WoeTable

Reals = NDArray[np.float64]
Positions = NDArray[np.int64]


class Training(Message, frozen=True, tag="training/scale"):
    """From the label party: the training weight W, the share of bads (with label noise, estimated), and the exponent of its weights' grid."""

    total: float
    base: float
    exponent: int


class Wanted(Message, frozen=True, tag="training/wanted"):
    """From a feature party: how many encrypted sums it asks for next."""

    answers: int


def announce(run: Run, label_party: str, answers: int) -> Role[None]:
    """A holder says how many sums it wants."""
    yield from run.step("wanted", {label_party: Wanted(answers)})


def hear_wanted(run: Run, manifest: Manifest) -> Role[dict[str, int]]:
    """The label party hears how many sums each holder wants, within the manifest's cap on answers. Raises PeerError."""
    received = yield from run.step("wanted", expect=dict.fromkeys(manifest.feature_parties, Wanted))
    wanted = {name: received.of(name, Wanted).answers for name in manifest.feature_parties}
    for name, answers in wanted.items():
        if not 0 < answers <= manifest.privacy.max_answers:
            raise PeerError(name, f"a request for {answers} sums", f"1 to {manifest.privacy.max_answers} (rule: max_answers)")
    return wanted


@dataclass(frozen=True)
class Place:
    """Where a party's rows lie. rows: (m,) those in the universe; positions: (m,) theirs."""

    rows: Positions
    positions: Positions
    universe: int

    @classmethod
    def of(cls, positions: Positions, universe: int) -> Place:
        """From the positions of all rows, -1 outside the universe."""
        rows = np.flatnonzero(positions >= 0)
        return cls(rows, positions[rows], universe)

    def spread(self, rows: Reals) -> Reals:
        """Rows at their positions, zero elsewhere, (universe, k)."""
        out = np.zeros((self.universe, rows.shape[1]))
        out[self.positions] = rows
        return out


@dataclass(frozen=True)
class WeightGrid:
    """Training weights as integers of at most 2^bits in units of 2^-exponent: one bit where every row weighs one."""

    bits: int
    exponent: int

    @classmethod
    def of(cls, manifest: Manifest, universe: int, largest: float) -> WeightGrid:
        """Half of what 57 bits leave after adding up the rows, for weights up to `largest`."""
        if not manifest.sample.weighted:
            return cls(1, 0)
        bits = (57 - universe.bit_length()) // 2
        return cls(bits, bits - math.frexp(largest)[1])

    def integers(self, weight: Reals) -> NDArray[np.int64]:
        """Weights on the grid, (n,)."""
        return np.rint(np.ldexp(weight, self.exponent)).astype(np.int64)


# -- moments ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MomentColumns:
    """What a holder asks sums of: presence, each distinct pattern of counted entries, x - c, and (x - c)^2 where x is not 0/1.

    matrix: (n, k); pattern, first, second: for each design column the column of the matrix with its count, sum and square sum; centre: c.
    """

    matrix: Reals
    pattern: list[int]
    first: list[int]
    second: list[int]
    centre: Reals

    @classmethod
    def of(cls, raw: Reals, counted: NDArray[np.bool_]) -> MomentColumns:
        """From the design before standardisation, (n, d), zero where not counted."""
        columns: list[Reals] = [np.ones(len(raw))]
        seen: dict[bytes, int] = {np.ones(len(raw), bool).tobytes(): 0}
        pattern, first, second, centre = [], [], [], np.zeros(raw.shape[1])
        for j, (x, c) in enumerate(zip(raw.T, counted.T, strict=True)):
            key = c.tobytes()
            if key not in seen:
                seen[key] = len(columns)
                columns.append(c.astype(np.float64))
            pattern.append(seen[key])
            binary = bool(((x == 0) | (x == 1)).all())
            if not binary and c.any():
                centre[j] = float(x[c].mean())
            deviation = np.where(c, x - centre[j], 0.0)
            first.append(len(columns))
            columns.append(deviation)
            second.append(first[-1])
            if not binary:
                second[-1] = len(columns)
                columns.append(deviation**2)
        return cls(np.column_stack(columns), pattern, first, second, centre)

    def moments(self, sums: Reals, total: float) -> tuple[Reals, Reals]:
        """Weighted training mean and standard deviation of each design column, (d,) each; a firm without a value counts as the mean."""
        count, first, second = sums[self.pattern], sums[self.first], sums[self.second]
        safe = np.where(count > 0, count, 1.0)
        offset = first / safe
        variance = np.maximum(second - count * offset**2, 0.0) / total
        small = 1e-12 * np.maximum(second / total, 1e-300)  # what rounding leaves of a constant column
        return self.centre + offset, np.sqrt(np.where(variance > small, variance, 0.0))


def moments_label(run: Run, manifest: Manifest, positions: Positions, universe: int, train: NDArray[np.bool_], weight: Reals) -> Role[None]:
    """The label party's part: the training membership, and the weights where there are any, as secret vectors over the universe.

    train, weight: (n,) in the order of `positions`; weight is zero outside training.
    """
    grid = WeightGrid.of(manifest, universe, float(weight.max()))
    wanted = yield from hear_wanted(run, manifest)
    placed = np.zeros(universe, np.int64)
    placed[positions] = grid.integers(weight)
    yield from own(run.within("weights"), wanted, placed, grid.bits)
    if manifest.sample.weighted:
        placed[positions] = train.astype(np.int64)
        yield from own(run.within("members"), dict.fromkeys(manifest.feature_parties, 1), placed, 1)


def moments_holder(
    run: Run, manifest: Manifest, encoding: Encoding, table: Table, place: Place, scale: Training
) -> Role[tuple[Encoding, int]]:
    """A feature party's part: its encoding with training moments, and how many of its rows train.

    Raises PolicyRefusal below the minimum cohort.
    """
    parts = MomentColumns.of(encoding.raw(table.columns)[place.rows], encoding.counted(table.columns)[place.rows])
    columns = Columns.quantised(place.spread(parts.matrix), WeightGrid.of(manifest, place.universe, 1.0).bits)
    yield from announce(run, manifest.label_party, columns.answers)
    totals = yield from hold(run.within("weights"), manifest.label_party, Transforms(columns))
    sums = columns.real(totals, scale.exponent)
    matched = float(sums[0])
    if manifest.sample.weighted:
        presence = Columns.quantised(place.spread(parts.matrix[:, :1]), 1)
        counts = yield from hold(run.within("members"), manifest.label_party, Transforms(presence))
        matched = float(presence.real(counts, 0)[0])
    require_cohort(run.me, round(matched), manifest.privacy.minimum_cohort)
    mean, deviation = parts.moments(sums, scale.total)
    return encoding.fitted(mean, deviation), round(matched)


def require_cohort(me: str, matched: int, minimum: int) -> None:
    """Raises PolicyRefusal where fewer of this party's rows train than its minimum cohort."""
    if matched < minimum:
        raise PolicyRefusal(
            me, f"only {matched} of its firms are in the training sample (rule: minimum_cohort = {minimum})",
            "Nothing about them was released. Choose a partner with more firms in common.", AbortCode.COHORT,
        )  # fmt: skip


def own_moments(raw: Reals, counted: NDArray[np.bool_], weight: Reals) -> tuple[Reals, Reals]:
    """The label party's own training moments, (d,) each, over its rows in plain."""
    parts = MomentColumns.of(raw, counted)
    return parts.moments(parts.matrix.T @ weight, float(weight.sum()))


def plain_encoding(table: Table, manifest: Manifest) -> Encoding:
    """Numbers and one-hot levels, before their training moments are known."""
    missing = manifest.settings.missing
    return plain(table.columns, "mean" if missing == "bin" else missing, manifest.binning.min_share)


# -- weights of evidence ----------------------------------------------------------------------------------------------------------


def woe_moments(tables: tuple[WoeTable, ...], total: float) -> tuple[Reals, Reals]:
    """Training mean and standard deviation of each WOE column from its table, (d,) each; a bin that was not released has WOE 0."""
    means, deviations = [], []
    for table in tables:
        weight = np.array([(row.goods or 0.0) + (row.bads or 0.0) for row in table.rows])
        woe = np.array(table.values)
        mean = float(weight @ woe) / total
        # bins not released weigh what is missing to the total, with WOE 0
        variance = float(weight @ (woe - mean) ** 2) / total + max(0.0, total - float(weight.sum())) / total * mean**2
        means.append(mean)
        deviations.append(math.sqrt(variance))
    return np.array(means), np.array(deviations)


def settled(binned: Binned, total: float) -> tuple[Encoding, tuple[str, ...]]:
    """The WOE encoding standardised by training moments, and notes of columns that were left out.

    A column all of whose firms have one WOE says nothing but that the party knows them, which every other column's absent bin says too.
    """
    mean, deviation = woe_moments(binned.tables, total)
    kept = [j for j, table in enumerate(binned.tables) if len({row.woe for row in table.rows[:-1] if row.rows > 0}) > 1]
    notes = tuple(
        f"column {table.column!r} has one weight of evidence for all firms that the party knows and was left out"
        for j, table in enumerate(binned.tables)
        if j not in kept
    )
    encoding = Encoding(tuple(binned.encoding.columns[j] for j in kept))
    return encoding.fitted(mean[kept], deviation[kept]), notes


# -- the stage ----------------------------------------------------------------------------------------------------------------------


def binned_run(manifest: Manifest) -> bool:
    """Whether columns are binned: for a scorecard, and where bins are all that is asked for."""
    return manifest.model == "scorecard" or manifest.task == "binning"


def encode_label(
    run: Run, manifest: Manifest, table: Table, universe: int, positions: Positions, sample: Sample, given: Mapping[str, Bins]
) -> Role[Encoded]:
    """The label party's part: tell W and the share of bads, serve the sums, encode its own columns. given: bins edited by hand."""
    assert table.label is not None, "a label party"
    place = Place.of(positions, universe)
    labels = training_labels(table, sample, place.rows)
    grid = WeightGrid.of(manifest, universe, float(labels.w.max()))
    noise = manifest.privacy.label_noise
    told = turned(run, table.label == 1, noise)
    share = labels.base if noise is None else unbiased_share(float(told[sample.train].mean()), int(sample.train.sum()), noise)
    yield from run.step("scale", dict.fromkeys(manifest.feature_parties, Training(labels.total, share, grid.exponent)))
    done = Encoded(Encoding(()), labels.total, labels.base, grid.exponent, matched=int((labels.w > 0).sum()))
    if binned_run(manifest):
        outcomes = Outcomes(table.label, sample.train, table.weight if manifest.sample.weighted else None, told)
        binned = yield from bin_label(
            run.within("binning"), manifest.feature_parties, table.columns, positions, universe, outcomes, manifest, given
        )
        encoding, notes = settled(binned, labels.total)
        done = msgspec.structs.replace(done, encoding=encoding, tables=binned.tables, released=binned.released, notes=notes)
    else:
        encoding = plain_encoding(table, manifest)
        yield from moments_label(run.within("moments"), manifest, place.positions, universe, sample.train[place.rows], labels.w)
        mean, deviation = own_moments(
            rows_of(encoding.raw(table.columns), place.rows), rows_of(encoding.counted(table.columns), place.rows), labels.w
        )
        done = msgspec.structs.replace(done, encoding=encoding.fitted(mean, deviation))
    if manifest.task == "train":
        answers = yield from hear_wanted(run, manifest)
        done = msgspec.structs.replace(done, answers=answers)
    return done


def encode_holder(
    run: Run, manifest: Manifest, table: Table, universe: int, positions: Positions, given: Mapping[str, Bins]
) -> Role[Encoded]:
    """A feature party's part."""
    place = Place.of(positions, universe)
    received = yield from run.step("scale", expect={manifest.label_party: Training})
    scale = received.of(manifest.label_party, Training)
    if not (math.isfinite(scale.total) and scale.total > 0 and 0 < scale.base < 1 and abs(scale.exponent) <= MOST_EXPONENT):
        raise PeerError(manifest.label_party, "a training weight or share of bads out of range", "W > 0 and a share between 0 and 1")
    if binned_run(manifest):
        binned = yield from bin_holder(run.within("binning"), manifest.label_party, table.columns, positions, universe, manifest, given)
        encoding, notes = settled(binned, scale.total)
        done = Encoded(
            encoding,
            scale.total,
            scale.base,
            scale.exponent,
            matched=binned.matched,
            tables=binned.tables,
            released=binned.released,
            notes=notes,
        )
    else:
        encoding, matched = yield from moments_holder(run.within("moments"), manifest, plain_encoding(table, manifest), table, place, scale)
        done = Encoded(encoding, scale.total, scale.base, scale.exponent, matched=matched)
    if manifest.task == "train":
        columns = design_columns(encoding.design(table.columns)[place.rows], encoding.absent_row, place.positions, universe)
        yield from announce(run, manifest.label_party, columns.answers)
    return done


MOST_EXPONENT = 1100
"""No double has a finer grid."""
