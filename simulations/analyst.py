"""An honest analyst's year at one institution: 200 questions, none asked in order to find anybody.

A book of firms that open and close; every month a report on all that are open and on some segments, in between statistics, bins and models of
segments with whatever columns are there, repeats, and three approved studies whose fits are done again after a few firms were found to be
wrong. A few times a year such a fit is done again outside a study, which a node refuses and should.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.disclosure.release import Hashes, Release, Study

MONTHS = 12
QUESTIONS = 200
COLUMNS = tuple(f"{of}_{over}" for of in ("turnover", "invoices", "refunds", "stock", "balance", "employees") for over in ("3m", "12m"))

Members = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """What is asked, in which sort of work."""

    sort: str
    release: Release


@dataclass(frozen=True)
class Book:
    """Firms (n,): hash, region, sector, size class, first and last month open; missing: (n, columns) where a value is not there."""

    hashes: Hashes
    region: NDArray[np.int64]
    sector: NDArray[np.int64]
    size: NDArray[np.int64]
    opened: NDArray[np.int64]
    closed: NDArray[np.int64]
    missing: NDArray[np.bool_]

    @classmethod
    def drawn(cls, rng: np.random.Generator, firms: int) -> Book:
        """A book of so many firms, of which about 85 % are open at the start; 1.3 % open and 0.6 % close in a month."""
        opened = np.where(rng.random(firms) < 0.85, 0, rng.integers(1, MONTHS + 1, firms))
        closed = opened + 1 + rng.geometric(0.006, firms)
        region = rng.choice(8, firms, p=np.array([24, 18, 15, 13, 11, 9, 6, 4]) / 100)
        sector = rng.choice(10, firms, p=np.array([25, 18, 14, 11, 9, 8, 6, 4, 3, 2]) / 100)
        size = rng.choice(3, firms, p=[0.7, 0.25, 0.05])
        missing = rng.random((firms, len(COLUMNS))) < rng.uniform(0.0, 0.03, len(COLUMNS))
        return cls(rng.integers(0, 1 << 63, firms, dtype=np.uint64), region, sector, size, opened, closed, missing)

    def open(self, month: int) -> Members:
        """Firms that are there in a month."""
        return (self.opened <= month) & (month < self.closed)


@dataclass
class Analyst:
    """Draws questions from a book. complete: share of questions that ask only for firms with all of their columns."""

    rng: np.random.Generator
    book: Book
    complete: float = 0.2

    def year(self) -> list[Question]:
        """The questions, in order."""
        questions: list[Question] = []
        for month in range(MONTHS):
            questions += self._reports(month)
            if month % 4 == 1:
                questions += self._study(month)
            while len(questions) < QUESTIONS * (month + 1) // MONTHS:
                questions.append(self._ad_hoc(month, questions))
        return questions[:QUESTIONS]

    def _reports(self, month: int) -> Iterator[Question]:
        """Each month's: all firms, and the three largest regions."""
        members = self.book.open(month)
        yield self._question("report", members, COLUMNS[:6], "statistics", "monitor")
        for region in range(3):
            yield self._question("report", members & (self.book.region == region), COLUMNS[:6], "statistics", "monitor")

    def _study(self, month: int) -> Iterator[Question]:
        """Bins and fits of one snapshot with several choices of columns; after some of them one to five firms are found to be wrong."""
        study, members = Study(f"study-{month}", 60), self.book.open(month)
        for fit in range(18):
            columns = self._columns(int(self.rng.integers(4, 9)))
            yield self._question("study", members, columns, "binning" if fit % 3 == 0 else "train", "decide", study)
            if self.rng.random() < 0.3:
                members = self._without_few(members)

    def _ad_hoc(self, month: int, before: list[Question]) -> Question:
        """A segment that somebody is interested in; an earlier question once more; or an earlier fit again, without a few firms."""
        kind = self.rng.random()
        if kind < 0.15:
            again = before[int(self.rng.integers(len(before)))].release
            return Question("repeat", Release(again.rows, again.columns, again.kind, again.purpose, again.study))
        if kind < 0.19:
            return self._question("refit outside", self._without_few(self.book.open(month)), self._columns(5), "train", "decide")
        members = self.book.open(month)
        for segments, share in ((self.book.region, 0.5), (self.book.sector, 0.4), (self.book.size, 0.25)):
            if self.rng.random() < share:
                members = members & (segments == self.rng.choice(segments))  # as often as there are firms in them
        columns = self._columns(int(self.rng.integers(1, 6)))
        if self.rng.random() < self.complete:
            members = members & ~self.book.missing[:, [COLUMNS.index(name) for name in columns]].any(axis=1)
        kinds, purposes = ("statistics", "binning", "train"), ("decide", "monitor", "research")
        return self._question("segment", members, columns, str(self.rng.choice(kinds)), str(self.rng.choice(purposes)))

    def _columns(self, count: int) -> tuple[str, ...]:
        return tuple(str(name) for name in self.rng.choice(COLUMNS, count, replace=False))

    def _without_few(self, members: Members) -> Members:
        fewer = members.copy()
        fewer[self.rng.choice(np.flatnonzero(members), int(self.rng.integers(1, 6)), replace=False)] = False
        return fewer

    def _question(
        self, sort: str, members: Members, columns: tuple[str, ...], kind: str, purpose: str, study: Study | None = None
    ) -> Question:  # fmt: skip
        return Question(sort, Release(self.book.hashes[members], columns, kind, purpose, study))
