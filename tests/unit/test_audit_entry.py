"""An entry is short, typed and canonical, or it is refused without its content."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federation.kernel.errors import LocalError
from privacy.audit.entry import entry, from_line, to_line

CANARY = "91350100M000100Y43"
TIME = "2026-01-31T12:00:00Z"

BAD: dict[str, dict[str, Any]] = {
    "kind": {"kind": "gossip"},
    "time without a zone": {"time": "2026-01-31T12:00:00"},
    "time of words": {"time": CANARY},
    "number": {"number": -1},
    "run": {"run": CANARY * 9},
    "run of two lines": {"run": f"{CANARY}\n"},
    "many facts": {"facts": {f"fact_{number}": 1 for number in range(33)}},
    "long fact": {"facts": {"note": CANARY * 12}},
    "fact of two lines": {"facts": {"note": f"{CANARY}\n"}},
    "name": {"facts": {f"x{CANARY}": 1}},
    "infinite": {"facts": {"note": float("inf")}},
    "large": {"facts": {"note": 1 << 63}},
    "list": {"facts": {"note": [CANARY]}},
    "none": {"facts": {"note": None}},
    "numpy": {"facts": {"note": np.float64(3.0)}},
    "lacking": {"kind": "session", "facts": {"session": "00"}},
}


def made(**given: Any) -> Any:
    parts = {"number": 0, "time": TIME, "kind": "policy", "run": "run-1", "facts": {}} | given
    return entry(parts["number"], parts["time"], parts["kind"], parts["run"], parts["facts"])


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_entry_is_refused_without_its_content(name: str) -> None:
    with pytest.raises(LocalError) as refused:
        made(**BAD[name])
    assert CANARY not in str(refused.value) and refused.value.action


def test_control_good_entries_are_taken() -> None:
    facts = {"text": "事由　甲", "count": (1 << 63) - 1, "rate": 0.1, "yes": True}
    assert made(facts=facts).facts == facts
    assert made(time="2026-01-31T12:00:00.123456+00:00").number == 0


def test_one_entry_is_one_line_and_no_other() -> None:
    line = to_line(made(facts={"b": 1, "a": "事由", "c": -0.5}), bytes(32))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    back = from_line(line)
    assert back is not None and back.entry == made(facts={"a": "事由", "b": 1, "c": -0.5}) and to_line(back.entry, bytes(32)) == line
    for other in (
        line[:-1],
        line.replace(b":", b": ", 1),
        line.replace(b"0.5", b"0.50"),
        line.replace(b'"run"', b'"rum"'),
        line.replace(b'"a":', b'"z":'),
        line.replace("事".encode(), b"\\u4e8b"),
        line.replace(b'"00', b'"0A'),
        b"\xff" + line,
        b"\n",
        b"[" * 5000 + b"\n",
    ):
        assert other != line and from_line(other) is None
