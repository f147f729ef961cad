"""What a run across parties will roughly take, from rows and columns, before it starts."""

from __future__ import annotations

from server.run_file import RunFile

ROWS_PER_BLOCK = 8192
MEGABYTES_PER_BLOCK = 0.2
ITERATIONS = 25


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
