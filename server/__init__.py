"""The coordinator: the Flower ServerApp, the run file and the manifest drawn from it, the courier, results and their report.

Read run_file, draft, app, courier, result, report.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # read when Flower is imported, so before any module of this package is
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
