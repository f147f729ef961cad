"""How records are cut into batches, and in which order they come, changes not a bit of a feature; nor do the firms that stand beside one.

Control: sums of floating-point CNY instead of whole fen do change.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.roles import assembly, totals
from clients.roles.bank import features as bank
from clients.roles.platform import features as platform
from tests import role_scene

ROLES = {"platform": (platform, role_scene.platform(firms=12)), "bank": (bank, role_scene.bank(firms=12))}
WHOLE = {
    role: adapter.build({kind: [frame] for kind, frame in found.items()}, role_scene.MONTHS) for role, (adapter, found) in ROLES.items()
}


def cut(frame: pd.DataFrame, order: np.random.Generator, places: list[float]) -> list[pd.DataFrame]:
    mixed = frame.iloc[order.permutation(len(frame))]
    ends = sorted({0, len(frame), *(int(place * len(frame)) for place in places)})
    return [mixed.iloc[low:high] for low, high in itertools.pairwise(ends)]


@pytest.mark.parametrize("role", ROLES)
@given(
    seed=st.integers(0, 2**32), places=st.lists(st.floats(0, 1), max_size=4), small=st.booleans(), kinds=st.randoms(use_true_random=False)
)
@settings(max_examples=6, deadline=None)
def test_batches_and_order_change_nothing(role, seed, places, small, kinds):
    adapter, records = ROLES[role]
    rng, names = np.random.default_rng(seed), list(records)
    kinds.shuffle(names)
    with pytest.MonkeyPatch.context() as patch:
        if small:  # merged at every batch, firms in blocks of five
            patch.setattr(totals, "_PENDING", 1)
            patch.setattr(assembly, "FIRMS", 5)
        table = adapter.build({kind: cut(records[kind], rng, places) for kind in names}, role_scene.MONTHS)
    pd.testing.assert_frame_equal(table, WHOLE[role], check_exact=True)


@pytest.mark.parametrize("role", ROLES)
def test_an_empty_batch_and_a_batch_without_days_change_nothing(role):
    adapter, records = ROLES[role]
    days = {"shipments": "delivered", "loans": "opened"}
    batches = {}
    for kind, frame in records.items():
        day = days.get(kind, "date")
        lost = frame.assign(firm="nobody", **{day: pd.Series(pd.NaT, index=frame.index, dtype="datetime64[s]")})
        batches[kind] = [frame.iloc[:0], frame, lost]
    pd.testing.assert_frame_equal(adapter.build(batches, role_scene.MONTHS), WHOLE[role], check_exact=True)


@pytest.mark.parametrize("role", ROLES)
def test_a_firm_alone_has_the_features_that_it_has_among_others(role):
    adapter, records = ROLES[role]
    for firm in role_scene.ids(12)[:4]:
        alone = adapter.build({kind: [frame[frame["firm"] == firm]] for kind, frame in records.items()}, role_scene.MONTHS)
        among = WHOLE[role][WHOLE[role]["id"] == firm].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, among, check_exact=True)


def test_batches_are_read_once_and_one_at_a_time():
    seen: list[int] = []

    def batches(frame):
        for number in range(3):
            seen.append(number)
            yield frame.iloc[number::3]

    records = ROLES["platform"][1]
    platform.build({"orders": batches(records["orders"])}, role_scene.MONTHS)
    assert seen == [0, 1, 2]


def test_control_sums_of_floats_depend_on_the_batches():
    amounts = ROLES["platform"][1]["orders"]["amount"].to_numpy() / 100
    rng = np.random.default_rng(1)
    assert len({float(sum(rng.permutation(amounts))) for _ in range(20)}) > 1
