"""A node's columns that the dictionary knows have its level, class and unit, unless the node says otherwise; its ranges are notes and no rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clients.vault import describe_table
from privacy.dictionary.entries import features
from privacy.dictionary.plausible import outside
from tests.vault_scene import config, frame, saved

PERSONAL = next(name for name, feature in features().items() if feature.classification == "C2" and feature.kind == "numeric")
SHARE = "sales_void_share_12m"


def test_level_class_and_unit_are_the_dictionarys(tmp_path: Path) -> None:
    data = frame().assign(**{PERSONAL: np.arange(60) % 7 + 1.0})
    facts = {column.name: column for column in describe_table(config(saved(tmp_path, data))).columns}
    feature = features()[PERSONAL]
    assert (facts[PERSONAL].level, facts[PERSONAL].classification, facts[PERSONAL].unit) == (feature.level, "C2", feature.unit)
    assert (facts["gmv"].level, facts["gmv"].classification, facts["gmv"].unit) == (3, "C1", "")


def test_what_the_node_says_wins(tmp_path: Path) -> None:
    data = frame().assign(**{PERSONAL: np.arange(60) % 7 + 1.0})
    settings = config(saved(tmp_path, data), levels={PERSONAL: 5}, classes={PERSONAL: "C3"})
    facts = {column.name: column for column in describe_table(settings).columns}
    assert (facts[PERSONAL].level, facts[PERSONAL].classification) == (5, "C3")


def test_values_beyond_the_range_are_counted_in_a_note_and_never_refused(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 60)
    values[:3] = [1.5, -0.25, 47.0]
    facts = describe_table(config(saved(tmp_path, frame().assign(**{SHARE: values}))))
    notes = [note for note in facts.notes if SHARE in note]
    assert len(notes) == 1 and "3 of 60 values" in notes[0]
    assert "47" not in notes[0] and "1.5" not in notes[0]


def test_control_values_within_the_range_have_no_note(tmp_path: Path) -> None:
    facts = describe_table(config(saved(tmp_path, frame().assign(**{SHARE: np.linspace(0, 1, 60)}))))
    assert not [note for note in facts.notes if SHARE in note]


def test_a_share_that_is_one_but_for_its_last_bit_is_within() -> None:
    feature = features()[SHARE]
    assert outside(feature, np.array([np.nextafter(1, 2), -1e-15, np.nan])) == 0
    assert outside(feature, np.array([1.001, -0.001, np.inf])) == 3
