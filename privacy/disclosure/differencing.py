"""A release is refused where, with earlier ones of the same data, it would tell of a few firms.

The same run minus one firm gives that firm's values as the difference of two sums. What a node refuses, on its own rows:

    study         a study that has released as often as its approval allows
    difference    rows that differ from those of one earlier release, with a column in common, in 1 to cohort - 1 firms
    combination   the same for any linear combination of earlier releases that share a column (`combinations`)
    unproven      earlier releases so many for their firms that the last rule cannot be decided
    repeats       of a check, whose numbers are each of one row: a row that was in as many checks of its kind as the manifest allows

and what it does not:

    repeat        just the rows of an earlier release with that column: nothing new is told
    refit         within one approved study, rows that differ in a few firms: its approval covers what these differences tell, of all of the
                  study's columns, and its limit bounds how many there are
    small bank    a release or an earlier one of fewer firms than the cohort is compared pair by pair alone: in a sum over banks its own total
                  is not seen, and how many rows the sum has is judged there

The kind and the purpose of a release do not matter: statistics over A and bins over A without a firm differ by that firm as well, whatever for.
A refusal itself says that the rows differ in a few firms (Kenthapadi, Mishra and Nissim 2005: no rule that looks at the data can avoid it), so
that only the code leaves the node, and whoever may ask for rows by name should not be let see it.

Not covered: values corrected between two releases of the same rows, what releases of other institutions add, combinations of a release of
fewer firms than the cohort, what the difference is in firms that the asker knows anyway, and releases that retention has forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from privacy.disclosure.combinations import Unproven, atoms, small_word
from privacy.disclosure.release import Hashes, Release, refusal

Bits = NDArray[np.uint8]

_WAIT = (
    "Nothing was sent. Repeat just the earlier rows, wait until at least a minimum cohort of firms differ, or make both runs part of one "
    "approved study."
)


@dataclass(frozen=True, eq=False)
class Entry:
    """An earlier release. members: bits over the ledger's rows, little order, as many as there were then; missing ones are zero."""

    run: str
    columns: frozenset[str]
    kind: str
    purpose: str
    study: str | None
    digest: bytes
    members: Bits


@dataclass(frozen=True, eq=False)
class ReleaseLedger:
    """All earlier releases of one institution's rows. rows, firms: (n,) hashes in the order first seen, `firms` equal to `rows` where a row is
    a firm; ended: releases of each study that retention has forgotten.
    """

    rows: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    firms: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    entries: tuple[Entry, ...] = ()
    ended: tuple[tuple[str, int], ...] = ()

    def admit(self, asked: Release, minimum_cohort: int) -> None:
        """Raises PolicyRefusal (code disclosure) where one of the rules above is broken; LocalError for a release that is none."""
        asked.require()
        if asked.study is not None and self.released(asked.study.name) >= asked.study.releases:
            what = f"the study {asked.study.name!r} has made all releases of its approval (rule: study)"
            raise refusal(what, "Nothing was sent. Ask for another approval.")
        if asked.most_repeats is not None:
            self._require_few_repeats(asked, asked.most_repeats)
            return
        comparison = _Comparison.of(self, asked, minimum_cohort)
        comparison.require_no_close_one()
        comparison.require_no_combination()

    def _require_few_repeats(self, asked: Release, most: int) -> None:
        """Asked again after a lender has come or gone, or with another circle of lenders, a count tells which lender it was."""
        grown, members = self._placed(asked)
        before = np.zeros(len(grown.rows), np.int64)
        for entry in self.entries:
            if entry.kind == asked.kind:
                before[: len(self.rows)] += _unpacked(entry.members, len(self.rows))
        often = int((before[_unpacked(members, len(grown.rows))] >= most).sum())
        if often:
            what = f"{often:,} of {len(asked.rows):,} keys were asked about in {most} checks before (rule: repeats)"
            raise refusal(what, "Nothing was sent. Leave them out; asking again and again tells which institution a count is of.")

    def released(self, study: str) -> int:
        """How many releases a study has made."""
        return dict(self.ended).get(study, 0) + sum(entry.study == study for entry in self.entries)

    def with_release(self, run: str, release: Release) -> ReleaseLedger:
        """The ledger once the run has released; its entry is the last."""
        grown, members = self._placed(release)
        study = None if release.study is None else release.study.name
        entry = Entry(run, frozenset(release.columns), release.kind, release.purpose, study, release.digest(), members)
        return replace(grown, entries=(*self.entries, entry))

    def without(self, run: str) -> ReleaseLedger:
        """The ledger with neither the run nor any row that it alone had; its study still counts it."""
        kept = tuple(entry for entry in self.entries if entry.run != run)
        ended = dict(self.ended)
        for entry in self.entries:
            if entry.run == run and entry.study is not None:
                ended[entry.study] = ended.get(entry.study, 0) + 1
        sets = [_unpacked(entry.members, len(self.rows)) for entry in kept]
        used = np.any(sets, axis=0) if sets else np.zeros(len(self.rows), bool)
        entries = tuple(replace(entry, members=_packed(members[used])) for entry, members in zip(kept, sets, strict=True))
        return ReleaseLedger(self.rows[used], self.firms[used], entries, tuple(sorted(ended.items())))

    def _placed(self, release: Release) -> tuple[ReleaseLedger, Bits]:
        """The ledger with the release's rows at its end where they are new, and the release's bits over it."""
        order = np.argsort(self.rows)
        asked = np.sort(release.rows)
        known = self.rows[order]
        at = np.searchsorted(known, asked)
        old = (known[np.minimum(at, len(known) - 1)] == asked) if len(known) else np.zeros(len(asked), bool)
        new = asked[~old]
        firms = new if release.firms is None else release.firms[np.argsort(release.rows)][~old]
        members = np.zeros(len(self.rows) + len(new), bool)
        members[order[at[old]]] = True
        members[len(self.rows) :] = True
        grown = replace(self, rows=np.concatenate([self.rows, new]), firms=np.concatenate([self.firms, firms]))
        return grown, _packed(members)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """A release beside the earlier ones that share a column with it. All bits are over `rows` rows; firm: (rows,) number of each row's firm,
    None where every row is one; rows_of_a_firm: the most that one has; of_study: all releases of each study, the asked one among them.
    """

    asked: Release
    least: int
    rows: int
    firm: NDArray[np.int64] | None
    rows_of_a_firm: int
    members: Bits
    earlier: tuple[Entry, ...]
    of_study: Mapping[str, Mapping[bytes, Bits]]

    @classmethod
    def of(cls, ledger: ReleaseLedger, asked: Release, least: int) -> _Comparison:
        grown, members = ledger._placed(asked)  # noqa: SLF001  # one idea, two classes
        of_study: dict[str, dict[bytes, Bits]] = {asked.study.name: {members.tobytes(): members}} if asked.study else {}
        earlier = []
        for entry in ledger.entries:
            bits = np.pad(entry.members, (0, len(members) - len(entry.members)))
            if entry.study is not None:
                of_study.setdefault(entry.study, {})[bits.tobytes()] = bits
            if not entry.columns.isdisjoint(asked.columns):
                earlier.append(replace(entry, members=bits))
        firm, most = None, 1
        if not np.array_equal(grown.rows, grown.firms):
            _, firm, counts = np.unique(grown.firms, return_inverse=True, return_counts=True)
            most = int(counts.max(initial=1))
        return cls(asked, least, len(grown.rows), firm, most, members, tuple(earlier), of_study)

    def require_no_close_one(self) -> None:
        """No earlier release differs in a few firms, but for those in which releases of the same study differ anyway."""
        told = self._told({self.asked.study.name} if self.asked.study else set())
        for entry in self.earlier:
            if self._few((entry.members ^ self.members) & ~told):
                what = f"the rows differ from those of run {entry.run!r} in fewer firms than the minimum cohort (rule: difference)"
                raise refusal(what, _WAIT)

    def require_no_combination(self) -> None:
        """No combination of earlier releases with a column in common and this one tells of a few firms that no study has told of."""
        told = self._told(set(self.of_study))
        asked = self.members & ~told
        for together in self._by_column():
            sets = {bits.tobytes(): (entry.run, bits) for entry in together if not self._below(bits := entry.members & ~told)}
            if self._below(asked) or asked.tobytes() in sets:
                continue
            runs = [run for run, _ in sets.values()]
            found = atoms([*(bits for _, bits in sets.values()), asked], self.firm, self.rows)
            firms_of = _Firms(found.of_row, self.firm, self.least * self.rows_of_a_firm)
            word = small_word(found.patterns[:-1], found.patterns[-1], found.weights, self.least, firms_of, self.rows_of_a_firm)
            if isinstance(word, Unproven):
                what = "it cannot be shown that with earlier releases it tells of no fewer firms than the minimum cohort (rule: unproven)"
                raise refusal(what, "Nothing was sent. Ask for rows that an earlier run had, or for fewer columns that earlier runs had.")
            if word is not None:
                named = ", ".join(repr(runs[place]) for place in word.releases[:3])
                what = f"with what the runs {named} released it tells of fewer firms than the minimum cohort (rule: combination)"
                raise refusal(what, _WAIT)

    def _by_column(self) -> Iterator[tuple[Entry, ...]]:
        """Earlier releases of each of the columns: each such set once, and none that lies within another, whose combinations are fewer."""
        sets = {
            frozenset(place for place, entry in enumerate(self.earlier) if column in entry.columns): None
            for column in sorted(set(self.asked.columns))
            if not any(column in entry.columns and np.array_equal(entry.members, self.members) for entry in self.earlier)
        }
        for places in sets:
            if not any(places < others for others in sets):
                yield tuple(self.earlier[place] for place in sorted(places))

    def _told(self, studies: Collection[str]) -> Bits:
        """Rows by which releases of one study differ where these are few: what its refits tell, and its approval covers."""
        told = np.zeros_like(self.members)
        for study in studies:
            for one, other in combinations(self.of_study[study].values(), 2):
                if self._few(differ := one ^ other):
                    told |= differ
        return told

    def _few(self, bits: Bits) -> bool:
        """Whether rows are those of 1 to `least` - 1 firms."""
        return self._below(bits) and bool(bits.any())

    def _below(self, bits: Bits) -> bool:
        """Whether rows are those of fewer than `least` firms; firms are looked up only where the number of rows leaves it open."""
        rows = int(np.bitwise_count(bits).sum())
        if self.firm is None or rows < self.least or rows >= self.least * self.rows_of_a_firm:
            return rows < self.least * (1 if self.firm is None else self.rows_of_a_firm)
        return len(np.unique(self.firm[_unpacked(bits, self.rows)])) < self.least


@dataclass(frozen=True, eq=False)
class _Firms:
    """Counts firms of a choice of atoms. enough: so many rows are a cohort of firms whoever's they are, and are not looked up."""

    of_row: NDArray[np.intp]
    firm: NDArray[np.int64] | None
    enough: int

    def __call__(self, choice: NDArray[np.bool_]) -> int:
        """Firms with a row in one of these atoms, or at least as many as matter."""
        rows = choice[self.of_row]
        count = int(np.count_nonzero(rows))
        return count if self.firm is None or count >= self.enough else len(np.unique(self.firm[rows]))


def _packed(members: NDArray[np.bool_]) -> Bits:
    return np.packbits(members, bitorder="little")


def _unpacked(members: Bits, rows: int) -> NDArray[np.bool_]:
    wide = np.pad(members, (0, max(0, (rows + 7) // 8 - len(members))))
    return np.unpackbits(wide, count=rows, bitorder="little").astype(bool)
