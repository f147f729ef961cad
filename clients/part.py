"""An institution's part in a run, by the manifest's task: the program that its participant drives, and the files that it leaves here."""

from __future__ import annotations

from typing import Any

from clients.bank_results import bank_results
from clients.check_results import check_results
from clients.open_run import OpenRun
from clients.results import partner_results
from federation.checks.program import Checker
from federation.kernel.manifest import Manifest
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.program import Bank
from federation.models.training import Local, program_of


def part_in(manifest: Manifest, me: str, local: Local) -> Any:
    """The program of a check, of a run over many banks, or of one across parties."""
    if manifest.is_check:
        return Checker(manifest, me, local.table, local.workers)
    return bank_of(manifest, me, local) if manifest.horizontal else program_of(manifest, me, local)


def files_of(run: OpenRun) -> dict[str, bytes]:
    """What a finished run leaves at this institution: files by name."""
    if isinstance(run.program, Checker):
        return check_results(run.participant, run.program)
    if isinstance(run.program, Bank):
        return bank_results(run.participant, run.program)
    return partner_results(run.participant, run.program)
