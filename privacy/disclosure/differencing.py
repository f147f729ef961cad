"""A release is refused where, with earlier ones of the same data, it would tell of a few firms.

The same run minus one firm gives that firm's values as the difference of two sums. What a node refuses, on its own rows:

    study         a study that has released as often as its approval allows
    difference    rows that differ from those of one earlier release, with a column in common, in 1 to cohort - 1 firms
    combination   the same for any linear combination of earlier releases that share a column (`combinations`)
    unproven      earlier releases so many for their firms that the last rule cannot be decided

and what it does not:

    repeat        just the rows of an earlier release with that column: nothing new is told
    refit         within one approved study, rows that differ in a few firms: its approval covers the difference, its limit bounds how many
    small bank    a release or an earlier one of fewer firms than the cohort is compared pair by pair alone: in a sum over banks its own total
                  is not seen, and how many rows the sum has is judged there

The kind and the purpose of a release do not matter: statistics over A and bins over A without a firm differ by that firm as well, whatever for.
A refusal itself says that the rows differ in a few firms (Kenthapadi, Mishra and Nissim 2005: no rule that looks at the data can avoid it), so
that only the code leaves the node, and whoever may ask for rows by name should not be let see it.

Not covered: values corrected between two releases of the same rows, what releases of other institutions add, combinations of a release of
fewer firms than the cohort, what the difference is in firms that the asker knows anyway, and releases that retention has forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

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
        comparison = _Comparison.of(self, asked, minimum_cohort)
        comparison.require_no_close_one()
        comparison.require_no_combination()

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
    None where every row is one; rows_of_a_firm: the most that one has.
    """

    asked: Release
    least: int
    rows: int
    firm: NDArray[np.int64] | None
    rows_of_a_firm: int
    members: Bits
    earlier: tuple[Entry, ...]

    @classmethod
    def of(cls, ledger: ReleaseLedger, asked: Release, least: int) -> _Comparison:
        grown, members = ledger._placed(asked)  # noqa: SLF001  # one idea, two classes
        columns = set(asked.columns)
        earlier = tuple(
            replace(entry, members=np.pad(entry.members, (0, len(members) - len(entry.members))))
            for entry in ledger.entries
            if not columns.isdisjoint(entry.columns)
        )
        if np.array_equal(grown.rows, grown.firms):
            return cls(asked, least, len(grown.rows), None, 1, members, earlier)
        _, firm, counts = np.unique(grown.firms, return_inverse=True, return_counts=True)
        return cls(asked, least, len(grown.rows), firm.astype(np.int64), int(counts.max(initial=1)), members, earlier)

    def require_no_close_one(self) -> None:
        """No earlier release outside the study differs in a few firms."""
        for entry in self.earlier:
            if not self._same_study(entry) and self._few(entry.members ^ self.members):
                what = f"the rows differ from those of run {entry.run!r} in fewer firms than the minimum cohort (rule: difference)"
                raise refusal(what, _WAIT)

    def require_no_combination(self) -> None:
        """No combination of earlier releases with a column in common and this one tells of a few firms."""
        for together in self._by_column():
            told = self._told(together)
            sets = {bits.tobytes(): (entry.run, bits) for entry in together if not self._below(bits := entry.members & ~told)}
            asked = self.members & ~told
            if self._below(asked) or asked.tobytes() in sets:
                continue
            runs = [run for run, _ in sets.values()]
            found = atoms([*(bits for _, bits in sets.values()), asked], self.firm, self.rows)
            firms_of = self._firms_of(found.of_row)
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

    def _told(self, together: Iterable[Entry]) -> Bits:
        """Rows by which releases of one study differ where these are few: what a refit tells, and its approval covers."""
        told = np.zeros_like(self.members)
        studies: dict[str, dict[bytes, Bits]] = {}
        if self.asked.study is not None:
            studies[self.asked.study.name] = {self.members.tobytes(): self.members}
        for entry in together:
            if entry.study is not None:
                studies.setdefault(entry.study, {})[entry.members.tobytes()] = entry.members
        for sets in studies.values():
            of_study = list(sets.values())
            for place, bits in enumerate(of_study):
                for others in of_study[:place]:
                    if self._few(differ := bits ^ others):
                        told |= differ
        return told

    def _same_study(self, entry: Entry) -> bool:
        return self.asked.study is not None and entry.study == self.asked.study.name

    def _few(self, bits: Bits) -> bool:
        """Whether rows are those of 1 to `least` - 1 firms."""
        return self._below(bits) and bool(bits.any())

    def _below(self, bits: Bits) -> bool:
        """Whether rows are those of fewer than `least` firms; firms are looked up only where the number of rows leaves it open."""
        rows = int(np.bitwise_count(bits).sum())
        if self.firm is None or rows < self.least or rows >= self.least * self.rows_of_a_firm:
            return rows < self.least * (1 if self.firm is None else self.rows_of_a_firm)
        return len(np.unique(self.firm[_unpacked(bits, self.rows)])) < self.least

    def _firms_of(self, of_row: NDArray[np.intp]) -> _Firms:
        return _Firms(of_row, self.firm, self.least * self.rows_of_a_firm)


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
