"""One run of the deployed coordinator: what is another worker's, or another run's, is let be."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from server.conducting import Conducting, Orders, ShuttingDown
from server.courier import Stopped
from server.place import Place
from server.store.records import Node, Run
from server.store.run_store import RunTaken
from server.store.states import RunState

NODE = Node("tax", "tax", "00" * 32, b"", "00" * 32, "files", "2026-05-01T12:00:00Z")


def conducting(root: Path, run: str, store: Any) -> Conducting:
    record = Run(run, b"", digest="", submitted_at="", state=RunState.WAITING, state_at="")
    return Conducting(Place(root), store, mock.Mock(), mock.Mock(), record, "me", Orders(), lambda: "2026-05-01T12:00:00Z")


def test_a_run_that_another_worker_has_keeps_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "runs" / "mine" / "conduct.json"
    record.parent.mkdir(parents=True)
    record.write_text("the other's")
    taken = mock.Mock(side_effect=RunTaken("run mine", "another process works on it", "Leave the run be."))
    monkeypatch.setattr(Conducting, "_conduct", taken)
    store = mock.Mock()
    with pytest.raises(RunTaken):
        conducting(tmp_path, "mine", store)()
    assert record.read_text() == "the other's" and not store.fail.called


def test_what_another_run_of_a_longer_name_was_asked_by_files_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may be called `winter`, and another `winter.2`."""
    place = Place(tmp_path)
    for run in ("winter", "winter.2"):
        place.asked(run, "tax").parent.mkdir(parents=True, exist_ok=True)
        place.asked(run, "tax").write_bytes(b"a question")
    store = mock.Mock(nodes=lambda: (NODE,))
    monkeypatch.setattr(Conducting, "_conduct", mock.Mock(side_effect=Stopped("run", "stopped", "")))
    conducting(tmp_path, "winter", store)()
    assert store.stop.called and not place.asked("winter", "tax").exists()
    assert place.asked("winter.2", "tax").exists()


def test_orders_end_a_wait_as_they_say() -> None:
    for order, error in (("stop", Stopped), ("shut_down", ShuttingDown)):
        orders = Orders()
        threading.Timer(0.05, getattr(orders, order).set).start()
        with pytest.raises(error):
            orders.sleep(30)
