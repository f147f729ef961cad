"""Figures of nodes in other processes reach the screen once each, and never as half a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulations.progress import Followed


class Screen:
    def __init__(self) -> None:
        self.shown: list[tuple[str, dict[str, Any]]] = []

    def party(self, name: str, figures: dict[str, Any]) -> None:
        self.shown.append((name, figures))


def test_each_line_counts_once_and_when_it_is_whole(tmp_path: Path) -> None:
    screen: Any = Screen()
    followed = Followed(screen, {"bank": tmp_path / "bank", "tax": tmp_path / "tax"})
    followed("fit 0", 1)
    assert screen.shown == []
    (tmp_path / "bank").write_text('{"a": 1}\n{"a": 2')
    followed("fit 0", 2)
    assert screen.shown == [("bank", {"a": 1})]
    with (tmp_path / "bank").open("a") as file:
        file.write('}\n{"a": 1}\n')  # a node that was made anew reports again
    (tmp_path / "tax").write_text('{"a": 1}\n')
    followed("fit 1", 3)
    followed("fit 1", 4)
    assert screen.shown == [("bank", {"a": 1}), ("bank", {"a": 2}), ("tax", {"a": 1})]
