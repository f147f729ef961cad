"""The outcomes of a party's rows by its manifest's target: which of its rows take part, their labels, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.party_config import PartyConfig
from clients.sources.opening import stamp
from clients.sources.repayment_tables import in_words
from clients.sources.repayments import read_histories
from clients.sources.typed import Records
from federation.align import uscc
from federation.kernel.errors import DataError
from federation.kernel.manifest import TargetSettings
from federation.models.target.findings import Findings, find
from federation.models.target.histories import Histories
from federation.models.target.observation import last_matured
from federation.models.target.outcomes import BAD, GOOD, NOT_MATURED, OUTCOMES, Judged, judge_rows

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Outcomes:
    """rows: places of the good and bad rows among the records; label: (records,) int8, 1 = bad, -1 where there is none."""

    rows: Places
    label: NDArray[np.int8]
    findings: Findings
    notes: tuple[str, ...]


def make_outcomes(config: PartyConfig, target: TargetSettings, records: Records, allowed: Places) -> Outcomes:
    """The outcomes of the records at these places, which the run may use. Raises DataError: no outcome, or of one class alone."""
    assert records.as_of is not None, "a party with repayments has dated rows"
    firms = [records.firms[row] for row in allowed]
    months = records.as_of[allowed].astype("datetime64[M]")
    keys = [f"{firm}|{month}" for firm, month in zip(firms, records.months[allowed], strict=True)]
    uscc.refuse_duplicates(keys, f"{config.name}: columns {config.id!r} and {config.as_of!r} (a firm's month)", allowed.tolist())
    before = stamp(config)
    loans, notes = read_histories(config, records.id_kind, set(firms))
    if stamp(config) != before:
        raise DataError(config.name, "the repayment table was changed while it was read", "Nothing was sent. Try again later.")
    judged = judge_rows(loans, target, firms, months)
    kept = (judged.code == GOOD) | (judged.code == BAD)
    _require_outcomes(config, target, loans, judged)
    label = np.full(len(records.firms), -1, np.int8)
    label[allowed[kept]] = judged.code[kept] == BAD
    findings = find(loans, target, judged, firms, months, config.disclosure.minimum_cell)
    return Outcomes(allowed[kept], label, findings, (*notes, *_notes(config, findings)))


def _require_outcomes(config: PartyConfig, target: TargetSettings, loans: Histories, judged: Judged) -> None:
    """Raises DataError where there are not goods and bads."""
    counts = np.bincount(judged.code, minlength=len(OUTCOMES))
    if counts[GOOD] and counts[BAD]:
        return
    window, matured = target.performance_months, last_matured(target, loans.last)
    span = f"the repayment table has {loans.months} months, {loans.first} to {loans.last}"
    if window >= loans.months:
        what = f"the performance window of {window} months is longer than the data: {span}, and a month before the window is needed, too"
        raise DataError(config.name, what, "Nothing was sent. Choose a shorter [target] performance_months, or bring more months.")
    if not counts[GOOD] and not counts[BAD]:
        why = ", ".join(f"{counts[code]:,} {OUTCOMES[code]}" for code in range(len(OUTCOMES)) if counts[code])
        what = f"no row of the feature table has an outcome ({why}); {span}, and the last month with outcomes is {matured}"
        action = f"Nothing was sent. Bring rows as of {matured} or earlier." if counts[NOT_MATURED] else "Nothing was sent. Check [target]."
        raise DataError(config.name, what, action)
    found, one = (counts[GOOD], "good") if counts[GOOD] else (counts[BAD], "bad")
    what = f"all {found:,} rows with an outcome are {one} (rule: goods and bads)"
    raise DataError(config.name, what, "Nothing was sent. Bring more rows, or another definition in [target].")


def _notes(config: PartyConfig, findings: Findings) -> list[str]:
    found, least = [], config.disclosure.minimum_cell
    if findings.unseen:
        found.append(
            f"{config.name}: {in_words(findings.unseen, least)} good rows are of loans without a row at the end of the performance window, "
            "and none says closed: they count as repaid"
        )
    if findings.gaps:
        found.append(
            f"{config.name}: {in_words(findings.gaps, least)} months of loans have no row though later ones do: roll rates leave them out"
        )
    return found
