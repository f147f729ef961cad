"""How many parameters a released model may have for its rows.

Coefficients of an exact fit are equations in the rows: p of them, released with an information matrix or over several fits, can be solved for
rows where these are few (`privacy.contracts.banks` has measured cases). A model of as many parameters as rows repeats its data.
"""

from __future__ import annotations

from privacy.disclosure.release import refusal


def require_rows(parameters: int, rows: int, rows_per_parameter: float) -> None:
    """Raises PolicyRefusal (code disclosure) where a model has fewer rows for each released parameter. rows: of the
    fit; where only a bank's own are known, its own.
    """
    if parameters > 0 and rows < parameters * rows_per_parameter:
        what = f"the model has fewer than {rows_per_parameter:g} rows for each of its {parameters} parameters (rule: parameters per row)"
        raise refusal(what, "Nothing was released. Use fewer columns or bins, or more rows.")
