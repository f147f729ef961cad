"""Who is gone since a run began: by withdrawal, or because a consent has run out meanwhile. Asked between the stages of a run."""

from __future__ import annotations

from dataclasses import dataclass

from federation.kernel.errors import AbortCode, DataError
from privacy.consent.days import day_of
from privacy.consent.decide import Mask


@dataclass(frozen=True)
class Mark:
    """How far a run has looked: the ledger's revision, and the moment."""

    revision: int
    at: int


@dataclass(frozen=True)
class Window:
    """What lies between two looks. Whoever is not touched by it keeps what was decided before."""

    since: Mark
    until: Mark

    def require(self) -> None:
        """Raises DataError for a ledger that went back: withdrawals may have been lost with it."""
        if self.until.revision < self.since.revision:
            raise DataError(
                "consent ledger", "it is older than when the run began (restored from a backup?)",
                "The run was ended. Enter the withdrawals of that time again, and start a new run.", AbortCode.CONSENT,
            )  # fmt: skip

    @property
    def rewound(self) -> bool:
        """Whether the clock went back: then everything is decided anew."""
        return self.until.at < self.since.at

    @property
    def ran_out(self) -> tuple[int, int]:
        """Grants whose last day lies in [first, second) have run out between the looks."""
        return day_of(self.since.at), day_of(self.until.at)

    def withdrawn(self, revision: int, at: int) -> bool:
        """Whether a withdrawal is new to the run: recorded since, or coming into force since."""
        return revision > self.since.revision or self.since.at < at <= self.until.at


@dataclass(frozen=True, eq=False)
class Gone:
    """mask: (n,) which of the ids asked about may no longer be used; withdrawn, run_out: how many of them, for the log and the model card;
    mark: where the next look begins.
    """

    mask: Mask
    withdrawn: int
    run_out: int
    mark: Mark
