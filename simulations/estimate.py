"""What a run across parties or over many banks will roughly take, from rows and columns, before it starts; measured on two cores."""

from __future__ import annotations

from federation.encrypted_linear.parameters import ANSWER_PRIMES, ANSWERS_PER_KEY, DATA_PRIMES, DEGREE, KEY_PRIMES
from server.run_file import RunFile

ITERATIONS = {"logistic": 30, "scorecard": 23}
"""Of a fit across parties; a scorecard's begins a second time."""
LEVELS_ACROSS = 2.5
"""Columns of a logistic design for each column of a partner, levels counted one by one."""
BYTES_PER_ANSWER = (len(ANSWER_PRIMES) * (DEGREE + 1) + 1) * 8
BYTES_PER_KEY = len(KEY_PRIMES) * DEGREE * 8
BYTES_PER_BLOCK = len(DATA_PRIMES) * DEGREE * 8
"""`federation.encrypted_linear.protocol`: an answer, a public key's half, a block of a ciphertext's."""

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
    universe, total = max(rows.values()), sum(rows.values())
    blocks = -(-universe // DEGREE)
    partners = [name for name, count in columns.items() if not settings.party(name).label]
    design = 1.0 if settings.run.model == "scorecard" else LEVELS_ACROSS
    answers = sum(columns[name] for name in partners) * design
    iterations = 0 if settings.run.task != "train" else ITERATIONS[settings.run.model]
    keys = sum(-(-columns[name] * design // ANSWERS_PER_KEY) for name in partners)
    once = answers * BYTES_PER_ANSWER + keys * BYTES_PER_KEY + keys * blocks * BYTES_PER_BLOCK + universe * 16 * len(partners)
    bins = settings.binning.max_bins if settings.run.model == "scorecard" else 1
    prepared = bins * sum(columns[name] for name in partners) * BYTES_PER_ANSWER * 2  # sizes and bads, or means and products
    megabytes = (total * 32 * (len(rows) + 1) + prepared + iterations * once) / 1e6
    seconds = 2 + total * (len(rows) + 1) / 15_000 + iterations * (0.15 + 0.01 * answers + 0.003 * blocks * answers)
    return seconds, megabytes


def estimate_check(rows: dict[str, int]) -> tuple[float, float]:
    """Seconds on one machine and megabytes between all parties, of a check: chain, tables of 1.5 cells a key, union, and 16 bytes a key."""
    total, parties = sum(rows.values()), len(rows)
    return 2 + total * (parties + 1) / 15_000, total * parties * (32 + 36 + 8 + 16) / 1e6


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
