"""What a run across parties or over many banks will roughly take, from rows and columns, before it starts; measured on two cores."""

from __future__ import annotations

from server.run_file import RunFile

ROWS_PER_BLOCK = 8192
MEGABYTES_PER_BLOCK = 0.2
ITERATIONS = 25

SECONDS_PER_BANK_AND_SUM = 0.018
SECONDS_PER_BANK = 0.13
"""Drafting the manifest and opening the session."""
BYTES_PER_NUMBER = 24
"""Three limbs of eight bytes."""
BYTES_PER_SUM = 9_000
"""Keys, shares and signatures of one bank in one sum."""
BANK_SUMS = {"statistics": 8, "binning": 10, "logistic": 17, "scorecard": 30}
"""Sums of a run over many banks; more where many columns are dropped one by one."""
NUMBERS_PER_COLUMN = {"statistics": 13_500, "binning": 5_000, "logistic": 0, "scorecard": 5_000}
"""Numbers that one numeric column takes over all sums, for its quantiles or cut points."""
LEVELS = 25
"""Levels of a categorical column: so many columns in the design of a model without bins."""
CELLS = 3_200
"""Numbers for one model in score cells."""


def estimate(rows: dict[str, int], columns: dict[str, int], settings: RunFile) -> tuple[float, float]:
    """Seconds on one machine and megabytes between all parties. rows, columns: by party."""
    universe = max(rows.values())
    total = sum(rows.values())
    blocks = -(-universe // ROWS_PER_BLOCK)
    partners = [name for name, count in columns.items() if not settings.party(name).label]
    wanted = sum(columns[name] for name in partners)
    align_seconds = total * (len(rows) + 1) / 40_000
    step_seconds = 0.05 + 0.006 * blocks * (len(partners) + wanted / 10) + 0.004 * wanted
    megabytes = total * 32 * (len(rows) + 1) / 1e6 + ITERATIONS * (
        blocks * len(partners) * MEGABYTES_PER_BLOCK + wanted * 0.13 + universe * 16 * len(partners) / 1e6
    )
    return align_seconds + ITERATIONS * step_seconds + 2, megabytes


def bank_sums(settings: RunFile) -> int:
    """How many masked sums a run over many banks will roughly open."""
    kind = _kind(settings)
    return BANK_SUMS[kind] + (6 if kind in ("logistic", "scorecard") and settings.model.personal_C is not None else 0)


def estimate_banks(rows: dict[str, int], numeric: int, categorical: int, settings: RunFile) -> tuple[float, float]:
    """Seconds on one machine and megabytes that the banks send, of a run over many banks. rows: by bank; numeric, categorical: columns."""
    kind, sums, banks = _kind(settings), bank_sums(settings), len(rows)
    numbers = NUMBERS_PER_COLUMN[kind] * numeric
    if kind in ("logistic", "scorecard"):
        design = numeric + categorical * (LEVELS if kind == "logistic" else 1)
        models = 3 if settings.model.personal_C is None else 4
        numbers += sums * design * (design + 3) // 2 + models * CELLS
    seconds = banks * (SECONDS_PER_BANK + sums * SECONDS_PER_BANK_AND_SUM) + sum(rows.values()) * max(1, numeric) * 4e-6
    return seconds, banks * (numbers * BYTES_PER_NUMBER + sums * BYTES_PER_SUM) / 1e6


def _kind(settings: RunFile) -> str:
    return settings.run.model if settings.run.task == "train" else settings.run.task
