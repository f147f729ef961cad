"""Which rows train, test and lie out of time: decided by the label party alone, by firm, from the manifest's seed.

A firm's rows stay on one side: a firm is held out by a keyed hash of its id, and a firm with a training row has no out-of-time row. Where
outcomes are made of repayments, what is in time was known by the day from which rows are out of time: a row whose performance window reaches
over it is in no sample.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.manifest import SampleSettings
from federation.models.table import Table
from federation.models.target.observation import reaches_over

Mask = NDArray[np.bool_]
SPLITS = ("train", "test", "out_of_time")


@dataclass(frozen=True)
class Sample:
    """Masks over the label party's rows, (n,) bool each; dropped: out-of-time rows of firms that train, left out of all three, and which these
    are; purged: rows left out since their performance window reaches over the day of the split. None stands for none.
    """

    train: Mask
    test: Mask
    out_of_time: Mask
    dropped: int = 0
    late_of_training: Mask | None = None
    purged: Mask | None = None

    def split_names(self) -> NDArray[np.str_]:
        """The split of each row, (n,), "" for rows in none."""
        return np.select([self.train, self.test, self.out_of_time], SPLITS, "")

    def kept(self, rows: Mask) -> Sample:
        """The split of these rows alone, (n,) bool: nobody changes sides because another row is gone."""
        late, purged = (None if mask is None else mask[rows] for mask in (self.late_of_training, self.purged))
        return Sample(self.train[rows], self.test[rows], self.out_of_time[rows], self.dropped, late, purged)


def draw_sample(table: Table, settings: SampleSettings) -> Sample:
    """The split of the label party's rows. Raises DataError where a split leaves nothing to train on."""
    key = suite.digest("split", settings.split_seed)
    threshold = int(settings.holdout * 2**64)
    held: dict[str, bool] = {
        firm: int.from_bytes(hashlib.blake2b(firm.encode(), key=key, digest_size=8).digest(), "big") < threshold
        for firm in set(table.firms)
    }
    held_out = np.array([held[firm] for firm in table.firms], bool)
    late = np.zeros(table.rows, bool)
    if settings.out_of_time_from is not None:
        if table.as_of is None:
            raise DataError(
                "[sample] out_of_time_from", "the label party's rows have no as_of date", "Name the date column in [sample] as_of."
            )
        late = table.as_of >= np.datetime64(settings.out_of_time_from)
    purged = np.zeros(table.rows, bool)
    if settings.out_of_time_from is not None and settings.target is not None and table.as_of is not None:
        purged = ~late & reaches_over(settings.target, table.as_of, np.datetime64(settings.out_of_time_from))
    train, test = ~held_out & ~late & ~purged, held_out & ~late & ~purged
    firms = np.array(table.firms, object)
    training_firms = set(firms[train])
    stays = np.array([firm not in training_firms for firm in table.firms], bool)
    return Sample(train, test, late & stays, int((late & ~stays).sum()), late & ~stays, purged)


_WINDOWS: Final = (
    " Rows before out_of_time_from train only where their performance window ends before it: a later day, or a shorter [target]"
    " performance_months, leaves more of them."
)


def check_sample(sample: Sample, label: NDArray[np.int8], minimum_cohort: int) -> None:
    """Both classes train, and enough rows do. Raises DataError or PolicyRefusal (no value, only counts)."""
    training = label[sample.train]
    windows = _WINDOWS if sample.purged is not None and sample.purged.any() else ""
    if training.size < minimum_cohort:
        raise PolicyRefusal(
            "label party",
            f"only {training.size} training rows (rule: minimum_cohort = {minimum_cohort})",
            f"Lower [run] holdout, move [sample] out_of_time_from, or bring more rows.{windows}",
            AbortCode.COHORT,
        )
    if training.min() == training.max():
        raise DataError("label party", "the training rows have one class only", "Bring goods and bads, or another seed or holdout.")
