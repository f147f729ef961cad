"""Properties are drawn from a fixed seed, so that the same code gives the same answer; `make test-all` draws anew each time.

Files that take long come first: `make test` hands whole files to its workers, and a long one that comes last keeps one of them alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, database=None)
settings.register_profile("fresh", print_blob=True)
settings.load_profile(os.environ.get("CREDITFED_PROPERTIES", "fixed"))

TESTS = Path(__file__).parent
FIRST = ("end_to_end", "unit/test_logistic", "unit/test_withdrawal", "crash", "stateful", "adversary", "browser")
"""What runs whole systems, the longest first; everything else takes seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by `FIRST`; within a place of it, and after it, as collected."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(TESTS).as_posix()
        return next((number for number, start in enumerate(FIRST) if path.startswith(start)), len(FIRST))

    items.sort(key=place)
