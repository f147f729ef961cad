"""An institution's node: its Flower ClientApp, its vault and sources, and what it keeps.

Read app, node, home, vault, results.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # read when Flower is imported, so before any module of this package is
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
