"""Attacks on the partial scores, by the coordinator and by a label party, and the weakened roles that each of them must break.

The coordinator holds the masked scores of every feature party at every position; the label party holds the sums at its own positions and
the keys that it shares with each feature party. Neither should learn a single feature party's score, the coordinator not even a sum.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federation.kernel import suite
from federation.kernel.codec import Array
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret
from federation.masked_sum.fixed_point import FixedPoint, Integers, Reals
from federation.masked_sum.mersenne import Words
from federation.masked_sum.partial_scores import MaskedScores, Positions, ScoreTotals
from privacy.attacks.masked_sum import Transcript, total


def read_sums(step: Transcript) -> Integers:
    """The coordinator adds what it received: the sum of scores at every position, right if no label party's mask covers it."""
    return total(step).view(np.int64)


def read_scores(words: Words, key: Secret) -> Integers:
    """The coordinator and the label party: one feature party's scores, from its words and its key with the label party.

    Right if the feature party had no mask in common with another one, as with a single feature party.
    """
    return (words - suite.keystream(key, len(words))).view(np.int64)


def without_label_mask(role: Role[None], key: Secret) -> Role[None]:
    """A feature party that leaves out the mask it shares with the label party, whose key is given."""
    run, step = next(role)
    message = step.send[COORDINATOR]
    if isinstance(message, MaskedScores):
        words = np.frombuffer(message.scores.data, "<u8")
        bare = Array.of(words - suite.keystream(key, len(words)))
        yield run, replace(step, send={COORDINATOR: MaskedScores(bare, message.tags)})


def unchecked_receiver(
    run: Run, feature_parties: tuple[str, ...], positions: Positions, universe: int, encoding: FixedPoint
) -> Role[Reals]:
    """A label party that does not look at the tags."""
    expect = {COORDINATOR: ScoreTotals}
    received = yield from run.step(f"totals for {run.me}", expect=expect, limit=16 * len(positions) + 4096)
    words = received.of(COORDINATOR, ScoreTotals).scores.read(COORDINATOR, "<u8", (len(positions),))
    for peer in feature_parties:
        words = words - suite.keystream(run.pair_key(peer, f"scores for {run.me}", shown=True), universe)[positions]
    return encoding.decode(words.view(np.int64))
