"""What the audit log costs: an append with batched syncing, and the verification of a million entries.

`python -m simulations.benchmarks.audit_log [ENTRIES]`; prints milliseconds an append, entries a second, and the size on disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from federation.kernel import suite
from federation.kernel.secret import Secret
from privacy.audit.verify import verify
from privacy.store.audit_file import EVERY, AuditFile
from privacy.store.audit_folder import find


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    key = Secret(bytes(range(32)))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        log = AuditFile(Path(folder) / "audit", key, lambda: "2026-01-31T12:00:00Z", party="bank")
        began = time.perf_counter()
        for number in range(entries):
            log.append("sent", "run-1", stage=f"fit {number % 40}", peer="platform", messages=1, digest="ab" * 32)
        log.head()
        wrote = time.perf_counter() - began
        size = sum(path.stat().st_size for path in (Path(folder) / "audit").iterdir())
        print(f"{entries:,} appended, synced after every {EVERY}: {1000 * wrote / entries:.3f} ms each, {size / 1e6:,.0f} MB")
        began = time.perf_counter()
        for _ in range(200):
            log.append("release", "run-1", what="bins", numbers=12)
            log.sync()
        print(f"synced after every one: {5 * (time.perf_counter() - began):.3f} ms each")
        log.head()
        began = time.perf_counter()
        report = verify(find(Path(folder)).log(), {suite.signing_public(key)})
        took = time.perf_counter() - began
        print(f"{report.size:,} verified in {took:.1f} s, {report.size / took:,.0f} a second; sound: {report.sound}")
        began = time.perf_counter()
        AuditFile(Path(folder) / "audit", key, lambda: "2026-01-31T12:00:00Z").append("policy", "run-2")
        print(f"first append of another process: {1000 * (time.perf_counter() - began):.0f} ms")


if __name__ == "__main__":
    main()
