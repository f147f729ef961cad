"""What a run may be for: a declared tree, so that a consent for a wider purpose covers the narrower ones below it.

    credit
      acquire    which of a platform's merchants would qualify
      decide     whether and on what terms a firm gets credit
      monitor    loans that are running
      collect    loans that are not repaid
    research     models and studies that decide nothing about a firm

A consent for `credit` covers `decide`; one for `decide` does not cover `credit`, `acquire` or `research` (PIPL art. 6 and 14: a purpose is
explicit, and another one needs a consent of its own).
"""

from __future__ import annotations

from typing import Final

from federation.kernel.errors import ConfigurationError

PARENTS: Final[dict[str, str | None]] = {
    "credit": None, "acquire": "credit", "decide": "credit", "monitor": "credit", "collect": "credit", "research": None,
}  # fmt: skip
"""Each purpose's wider one."""

RUN_PURPOSES: Final = tuple(name for name in PARENTS if name not in PARENTS.values())
"""What a run may state: the leaves of the tree."""


def wider(purpose: str) -> tuple[str, ...]:
    """The purpose itself and every one that contains it, narrowest first. Raises ConfigurationError for one that is not declared."""
    require_purpose(purpose)
    found = [purpose]
    while (parent := PARENTS[found[-1]]) is not None:
        found.append(parent)
    return tuple(found)


def covers(granted: str, asked: str) -> bool:
    """Whether what was granted for one purpose serves the other."""
    return granted in wider(asked)


def require_purpose(purpose: str) -> None:
    """Raises ConfigurationError for a purpose that is not in the tree."""
    if purpose not in PARENTS:
        raise ConfigurationError("purpose", "it is not one of the declared purposes", f"Use one of {', '.join(PARENTS)}.")
