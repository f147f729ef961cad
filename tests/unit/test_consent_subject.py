"""A subject has one hash, however its identifier is spelled and whatever kind of identifier the table declares."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.align.uscc import ALPHABET, check_character, in_any_kind, normalise
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError
from privacy.consent.days import date_of, day_of, moment, to_date
from privacy.consent.subject import HASH_BYTES, NOBODY, Pseudonyms
from tests.consent_scene import KEY

codes = st.text(ALPHABET, min_size=17, max_size=17).map(lambda first: first + check_character(first))


def or_none(text, kind):
    try:
        return normalise([text], kind)[0]
    except DataError:
        return None


@given(st.one_of(codes, codes.map(str.lower), codes.map(lambda code: f" {code[:5]} {code[5:]}\u200b"), st.text(max_size=24)))
def test_the_vaults_spelling_and_the_raw_one_are_the_same_subject(text):
    (raw,) = in_any_kind([text])
    for kind in ("uscc", "any"):
        normalised = or_none(text, kind)
        if normalised is not None:
            assert in_any_kind([normalised]) == [raw] and raw
    assert in_any_kind([raw]) == [raw]


def test_what_is_no_identifier_is_nobody():
    assert Pseudonyms(KEY).of(["", " ", "\u200b", "a\x00b", None, 7]) == [NOBODY] * 6


def test_ids_that_differ_stay_apart():
    names = ["ab", "a b", "abc", "91350100M000100Y43", "91350100M000100Y44", "91350100M000100Y4"]
    assert len(set(Pseudonyms(KEY).of(names))) == len(names)


def test_the_hash_is_hmac_sha256_under_a_derived_key_cut_to_128_bits():
    key = suite.derive(KEY, "consent", "subject").reveal()
    assert Pseudonyms(KEY).of(["Ann"]) == [hmac.digest(key, b"ann", "sha256")[:HASH_BYTES]] and HASH_BYTES == 16


def test_days_are_those_of_china():
    assert to_date(day_of(moment("2026-03-09T15:59:59Z"))).isoformat() == "2026-03-09"
    assert date_of(moment("2026-03-09T16:00:00Z")).isoformat() == "2026-03-10"
    assert moment("2026-03-10T00:00:00+08:00") == moment("2026-03-09T16:00:00Z")
    for wrong in ("", "2026-03-10", "2026-03-10T00:00:00", "yesterday"):
        with pytest.raises(ConfigurationError, match="ISO 8601"):
            moment(wrong)
