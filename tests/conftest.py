"""Properties are drawn from a fixed seed, so that the same code gives the same answer; `make test-all` draws anew each time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, database=None)
settings.register_profile("fresh", print_blob=True)
settings.load_profile(os.environ.get("CREDITFED_PROPERTIES", "fixed"))
