"""[target] of a run file: it goes with repayments at every party that has outcomes, and repayments go with it."""

from __future__ import annotations

from typing import Any

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import TargetSettings
from federation.kernel.manifest_rules import check_definition
from privacy.store import strict_toml
from server.run_tables import Party, SampleTable


def read_target(file: str, raw: Any, sample: SampleTable, parties: tuple[Party, ...]) -> TargetSettings | None:
    """The table, checked; None where there is none. Raises ConfigurationError."""
    for party in parties:
        where = f"{file}: [[party]] {party.name}"
        if party.label is not None and party.repayments is not None:
            what = "it has both label and repayments: outcomes come of a column, or of the repayment table by [target]"
            raise ConfigurationError(where, what, "Leave out one of the two.")
        if party.loans is not None and party.repayments is None:
            raise ConfigurationError(f"{where} loans", "goes with repayments, and that is left out", "Add repayments, or leave it out.")
        if party.repayments is not None and raw is None:
            what = "nothing says what an outcome is"
            raise ConfigurationError(f"{where} repayments", what, "Add [target]; an empty one has every default.")
        if party.label is not None and raw is not None:
            what = "[target] makes outcomes of repayments, and this party has a column of outcomes"
            raise ConfigurationError(f"{where} label", what, 'Write repayments = "repayments.parquet" in its place, or leave out [target].')
    if raw is None:
        return None
    target = strict_toml.table(f"{file}: [target]", raw, TargetSettings)
    if not any(party.repayments is not None for party in parties):
        what = "no party has repayments to make outcomes of"
        raise ConfigurationError(f"{file}: [target]", what, 'Give the bank its repayment table: repayments = "repayments.parquet".')
    if sample.as_of is None:
        what = "outcomes need the month of each row"
        raise ConfigurationError(f"{file}: [target]", what, 'Name the column of dates: [sample] as_of = "as_of".')
    check_definition(target, f"{file}: [target]")
    return target
