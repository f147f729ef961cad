"""A consent serves its own purpose and the narrower ones below it, and nothing else."""

import pytest

from federation.kernel.errors import ConfigurationError
from privacy.purposes import PARENTS, RUN_PURPOSES, covers, wider


def test_the_wider_covers_the_narrower_and_never_the_other_way_round():
    pairs = {(granted, asked) for granted in PARENTS for asked in PARENTS if covers(granted, asked)}
    assert pairs == {(name, name) for name in PARENTS} | {("credit", name) for name in ("acquire", "decide", "monitor", "collect")}


def test_a_run_states_a_leaf():
    assert set(RUN_PURPOSES) == {"acquire", "decide", "monitor", "collect", "research"}


def test_an_undeclared_purpose_covers_nothing():
    for call in (lambda: wider("marketing"), lambda: covers("credit", "marketing")):
        with pytest.raises(ConfigurationError, match="declared purposes"):
            call()
