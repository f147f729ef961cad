"""A consortium for checks across institutions: one that asks about its applicants, others with books, over real envelopes in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from federation.checks.program import Checker, Router
from federation.kernel import suite
from federation.kernel.manifest import CheckSettings, ColumnDeclaration, Manifest, PartyDeclaration, PrivacySettings
from federation.kernel.role import COORDINATOR
from federation.models.table import Column, Table
from tests.post import Post, identity, manifest

ASKS = "bank-a"
BANDS = (100_000.0, 500_000.0)
Book = Mapping[str, float]


def table_of(rows: Mapping[str, float] | tuple[str, ...], column: str = "outstanding") -> Table:
    """A table as the vault makes it: sorted keys, and the one number of an institution that is asked."""
    keys = tuple(sorted(rows))
    columns = {}
    if isinstance(rows, Mapping):
        columns = {column: Column(column, "numeric", np.array([rows[key] for key in keys], np.float64))}
    return Table(keys=keys, firms=keys, columns=columns, commitment=b"\0" * 32)


@dataclass
class CheckCase:
    """applicants: whom the first institution asks about; books: of the others, key to number."""

    applicants: tuple[str, ...]
    books: Mapping[str, Book]
    task: str = "multi_lender"
    check: dict[str, Any] = field(default_factory=dict)
    post: dict[str, Any] = field(default_factory=dict)
    privacy: dict[str, Any] = field(default_factory=dict)
    program: Callable[[Manifest, str, Table], Any] = Checker
    router: Callable[[Manifest], Any] = Router

    @property
    def manifest(self) -> Manifest:
        """Of just these."""
        amount = ColumnDeclaration(name="outstanding", kind="numeric")
        parties = tuple(
            PartyDeclaration(
                name=name, role="bank", identity=suite.signing_public(identity(name)).hex(), columns=(amount,) if asked else ()
            )
            for name, asked in ((ASKS, False), *((name, True) for name in self.books))
        )
        bands = BANDS if self.task == "multi_lender" else ()
        check = CheckSettings(**({"asks": ASKS, "bands": bands, "pad": 16, "max_asked": 64} | self.check))
        privacy = PrivacySettings(**self.privacy)
        return manifest(*(party.name for party in parties), parties=parties, task=self.task, purpose="decide", check=check, privacy=privacy)

    @property
    def tables(self) -> dict[str, Table]:
        """Of all institutions."""
        return {ASKS: table_of(self.applicants)} | {name: table_of(book) for name, book in self.books.items()}

    def make(self) -> Post:
        """Everybody's participants and the post between them."""
        said = self.manifest
        programs: dict[str, Any] = {COORDINATOR: partial(self.router, said)}
        programs |= {name: partial(self.program, said, name, table) for name, table in self.tables.items()}
        return Post(said, programs, **self.post)

    def answer(self, post: Post) -> dict[str, tuple[int, ...]]:
        """What the institution that asks holds at the end: applicant to counts."""
        party = post.parties[ASKS]
        program = Checker(self.manifest, ASKS, self.tables[ASKS])
        rows, sums = program.found(party.state)
        return {program.table.keys[row]: tuple(map(int, counts)) for row, counts in zip(rows, sums, strict=True)}

    def truth(self) -> dict[str, tuple[int, ...]]:
        """The same from all books laid side by side."""
        if self.task == "shared_identity":
            return {
                key: (sum(book.get(key, 0) > 0 for book in self.books.values()), int(sum(book.get(key, 0) for book in self.books.values())))
                for key in self.applicants
            }
        edges = [0.0, *(self.manifest.check.bands), float("inf")]

        def band(key: str, low: float, high: float) -> int:
            return sum(amount > 0 and low <= amount < high for book in self.books.values() for amount in [book.get(key, 0.0)])

        return {key: tuple(band(key, low, high) for low, high in pairwise(edges)) for key in self.applicants}


def played(case: CheckCase) -> tuple[Post, dict[str, tuple[int, ...]]]:
    """The run to its good end, and the answer."""
    post = case.make()
    parties = post.play()
    failures = {name: str(party.failure) for name, party in parties.items() if party.failure is not None}
    assert not failures, failures
    assert all(party.finished for party in parties.values())
    return post, case.answer(post)


def books(seed: int, banks: int = 4, firms: int = 60) -> dict[str, dict[str, float]]:
    """Open loans of some of so many firms at each bank; an amount may be nothing, or on the edge of a band."""
    rng = np.random.default_rng(seed)
    amounts = (0.0, 50_000.0, 100_000.0, 499_999.99, 500_000.0, 2_000_000.0)
    return {
        f"bank-{'bcdefghij'[place]}": {f"firm {number}": float(rng.choice(amounts)) for number in range(firms) if rng.random() < 0.4}
        for place in range(banks)
    }
