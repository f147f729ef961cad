"""A party's records once each column has its kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from federation.align import uscc
from federation.models.table import Column


@dataclass(frozen=True)
class Records:
    """A party's typed records in the file's order. as_of: days; label, weight, owners as in Table; keys: where a row is not its firm."""

    firms: list[str]
    id_kind: uscc.Kind
    columns: dict[str, Column]
    as_of: NDArray[np.datetime64] | None
    label: NDArray[np.int8] | None
    weight: NDArray[np.float64] | None
    notes: tuple[str, ...]
    owners: list[str] = field(default_factory=list, repr=False)
    keys: tuple[str, ...] | None = field(default=None, repr=False)

    @property
    def months(self) -> NDArray[np.str_]:
        """The month of each row, YYYY-MM."""
        assert self.as_of is not None, "asked only of dated rows"
        return np.datetime_as_string(self.as_of.astype("datetime64[M]"))
