"""A party's own rows as the protocols see them: keys in one fixed order, typed columns, and what only a label party has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from federation.models.target.findings import Findings


@dataclass(frozen=True)
class Column:
    """One feature of a party's table.

    values: (n,) float64 with NaN for missing when numeric; (n,) object of str with None for missing when categorical.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    values: NDArray[Any]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value, (n,)."""
        if self.kind == "numeric":
            return np.asarray(np.isnan(self.values))
        return np.array([value is None for value in self.values], bool)


@dataclass(frozen=True)
class Table:
    """A party's rows, sorted by key, so that every sum over them is taken in the same order whatever order the source had.

    keys: alignment keys, the normalised id or "id|YYYY-MM"; firms: the normalised id of each row; owners: the id of the person behind each, ""
    for none, and empty where the table does not name them; as_of: (n,) datetime64[D] or None;
    label: (n,) int8, 1 = bad, or None for a feature party; weight: (n,) float64; commitment: 32 bytes over the rows and a salt;
    notes: findings worth a line in the report, without values; target: how the labels were made, where they come of repayments.
    """

    keys: tuple[str, ...]
    firms: tuple[str, ...]
    columns: Mapping[str, Column]
    commitment: bytes
    as_of: NDArray[np.datetime64] | None = None
    label: NDArray[np.int8] | None = None
    weight: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = field(default=())
    target: Findings | None = None
    owners: tuple[str, ...] = field(default=(), repr=False)

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weight of each row, (n,): one where there is no column of weights."""
        return np.ones(self.rows) if self.weight is None else self.weight

    @property
    def rows(self) -> int:
        """How many rows the party has."""
        return len(self.keys)

    def kept(self, rows: NDArray[np.bool_]) -> Table:
        """These rows alone, (n,) bool, in their order; the commitment stays that of the whole table, which the run was approved for."""
        chosen = np.flatnonzero(rows).tolist()
        return replace(
            self, keys=tuple(self.keys[row] for row in chosen), firms=tuple(self.firms[row] for row in chosen),
            owners=tuple(self.owners[row] for row in chosen) if self.owners else (),
            columns={name: replace(column, values=column.values[rows]) for name, column in self.columns.items()},
            as_of=None if self.as_of is None else self.as_of[rows], label=None if self.label is None else self.label[rows],
            weight=None if self.weight is None else self.weight[rows],
        )  # fmt: skip
