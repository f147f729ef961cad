"""Identifiers: the check of GB 32100-2015, one spelling for one id, and errors that name rows and never an id."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.align.uscc import ALPHABET, check_character, looks_like_uscc, normalise, spellings
from federation.kernel.errors import DataError

SEED = 20_240_608
PUBLISHED = (
    "91350100M000100Y43",  # the example of GB 32100-2015, annex A
    "914403001922038216",  # codes that listed and well-known companies publish themselves
    "91330100799655058B",
    "9144030071526726XG",
    "91110000802100433B",
)
QUICK = settings(max_examples=100, deadline=None, derandomize=True)

firsts = st.text(ALPHABET, min_size=17, max_size=17)


def code(first17: str) -> str:
    return first17 + check_character(first17)


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_codes_pass_and_give_their_own_check_character(published: str) -> None:
    assert check_character(published[:17]) == published[17]
    assert normalise([published], "uscc") == [published]


def test_the_alphabet_has_31_characters_and_leaves_out_five_letters() -> None:
    assert len(ALPHABET) == 31 == len(set(ALPHABET))
    assert not set("IOSVZ") & set(ALPHABET)


@QUICK
@given(firsts)
def test_the_check_is_the_formula_of_the_standard(first17: str) -> None:
    total = sum(ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(first17))
    assert check_character(first17) == ALPHABET[(31 - total % 31) % 31]
    assert normalise([code(first17)], "uscc") == [code(first17)]


@QUICK
@given(firsts, st.integers(0, 17), st.integers(1, 30))
def test_no_single_wrong_character_passes(first17: str, place: int, shift: int) -> None:
    good = code(first17)
    wrong = good[:place] + ALPHABET[(ALPHABET.index(good[place]) + shift) % 31] + good[place + 1 :]
    with pytest.raises(DataError):
        normalise([wrong], "uscc")


@QUICK
@given(firsts, st.integers(0, 16))
def test_no_exchange_of_two_neighbours_passes(first17: str, place: int) -> None:
    good = code(first17)
    wrong = good[:place] + good[place + 1] + good[place] + good[place + 2 :]
    if wrong != good:
        with pytest.raises(DataError):
            normalise([wrong], "uscc")


@QUICK
@given(firsts)
def test_spellings_of_one_code_become_one(first17: str) -> None:
    good = code(first17)
    wide = "".join(chr(ord(c) + 0xFEE0) for c in good)
    spaced = f"\ufeff {good[:8]}\u3000{good[8:17].lower()}\u200b {good[17]}\n"
    for spelled in (good.lower(), wide, spaced):
        assert normalise([spelled], "uscc") == [good]


@QUICK
@given(st.text(max_size=20))
def test_normalising_any_id_twice_changes_nothing(text: str) -> None:
    try:
        once = normalise([text], "any")
    except DataError:
        return
    assert normalise(once, "any") == once


def test_case_width_and_spaces_do_not_tell_any_ids_apart_but_an_inner_space_does() -> None:
    assert normalise([" Ａcme  Ltd "], "any") == normalise(["ACME\u00a0LTD"], "any") == ["acme ltd"]
    assert normalise(["ACMELTD"], "any") != ["acme ltd"]


@pytest.mark.parametrize("bad", ["", "  ", "\u200b", None, 3.5, float("nan"), "a\x00b"])
def test_what_is_not_an_id_is_refused(bad: object) -> None:
    for kind in ("any", "uscc"):
        with pytest.raises(DataError, match=r"rows 2\b"):
            normalise([PUBLISHED[0], bad], kind)  # type: ignore[list-item]


def test_an_error_counts_bad_ids_names_the_first_rows_and_never_an_id() -> None:
    ids = [code(f"{i:017d}") for i in range(20)]
    for row in (2, 3, 5, 7, 11, 13, 17):
        ids[row] = "SECRET" + ids[row][6:]
    with pytest.raises(DataError) as caught:
        normalise(ids, "uscc", "platform-a: column 'uscc'")
    text = str(caught.value)
    assert "7 of 20" in text
    assert "rows 3, 4, 6, 8, 12, ..." in text
    assert text.startswith("platform-a: column 'uscc':")
    assert not any(part in text for one in ids for part in (one, one[:8], one[9:]))


def test_ids_that_become_equal_are_duplicates_and_the_later_rows_are_named() -> None:
    ids = [code(f"{i:017d}") for i in range(6)]
    with pytest.raises(DataError, match=r"2 of 8 rows repeat .* rows 7, 8") as caught:
        normalise([*ids, ids[1].lower(), f" {ids[4]}"], "uscc")
    assert ids[1] not in str(caught.value)


def test_the_kind_is_hinted_and_never_guessed_by_normalise() -> None:
    rng = np.random.default_rng(SEED)
    codes = [code("".join(rng.choice(list(ALPHABET), 17))) for _ in range(50)]
    assert looks_like_uscc(codes)
    assert looks_like_uscc([*codes, "?", "?"])
    assert not looks_like_uscc([*codes[:10], *["?"] * 5])
    assert not looks_like_uscc([c[:17] + "0" for c in codes])
    assert not looks_like_uscc([])


@pytest.mark.parametrize("wrong", ["", "1" * 16, "1" * 18, "I" + "1" * 16, "a" * 17])
def test_a_check_character_is_not_computed_for_what_is_no_code(wrong: str) -> None:
    with pytest.raises(DataError):
        check_character(wrong)


def test_a_hundred_thousand_codes_take_well_under_a_second() -> None:
    rng = np.random.default_rng(SEED)
    values = rng.integers(0, 31, (100_000, 17))
    checks = -(values @ np.array([pow(3, i, 31) for i in range(17)])) % 31
    table = np.array(list(ALPHABET))
    codes = ["".join(row) for row in table[np.column_stack([values, checks])]]
    start = time.perf_counter()
    assert normalise(codes, "uscc") == codes
    assert time.perf_counter() - start < 2  # about 0.1 s on an idle machine


def test_spellings_keep_order_and_repeats_and_are_empty_for_what_is_no_id() -> None:
    good = "91310000" + "0" * 9
    good += check_character(good)
    texts = [good, "nonsense", f" {good.lower()} ", good, "", good[:-1] + "?"]
    assert spellings(texts, "uscc") == [good, "", good, good, "", ""]
    assert spellings(texts[1:2], "any") == ["nonsense"]
    assert spellings([good], "uscc")[0] is good  # a million ids are not held twice
    assert spellings([], "uscc") == []


@pytest.mark.parametrize("count", [1, (1 << 15) - 1, 1 << 15, (1 << 15) + 1])
def test_blocks_of_ids_are_checked_as_one(count: int) -> None:
    good = "91310000" + "0" * 9
    good += check_character(good)
    for place in {0, count // 2, count - 1}:
        found = spellings([good] * place + ["1" * 18] + [good] * (count - place - 1), "uscc")
        assert len(found) == count and [i for i, text in enumerate(found) if not text] == [place]
