"""Uniform numbers from a stream of 64-bit words that somebody else supplies: in a run `run.random(label).words`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_AHEAD = 4096


@dataclass
class Stream:
    """words: gives so many uniform 64-bit words, (count,), and never the same again. The numbers are a function of that stream alone."""

    words: Callable[[int], Words]
    _held: list[int] = field(default_factory=list, init=False, repr=False)

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection: exact for any bound of at least 1."""
        bits = (bound - 1).bit_length()
        while True:
            value, have = 0, 0
            while have < bits:
                value |= self._word() << have
                have += 64
            value &= (1 << bits) - 1
            if value < bound:
                return value

    def _word(self) -> int:
        if not self._held:
            self._held = self.words(_AHEAD).tolist()
        return self._held.pop()
