"""A manifest has one form in bytes, every change of it is another run, and only every institution's own signature approves it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel import manifest_rules, suite
from federation.kernel.errors import ConfigurationError, PeerError
from federation.kernel.manifest import ColumnDeclaration, Manifest, ModelSettings, PrivacySettings
from federation.kernel.manifest_rules import check_manifest, read_manifest
from federation.kernel.signatures import Signature, check_signatures, sign_manifest
from tests.post import identity, manifest

NAMES = ("bank", "platform", "tax")
SNAPSHOT = b"s" * 32
replace = msgspec.structs.replace


def whole() -> Manifest:
    made = manifest(*NAMES, contracts=("align", "session"))
    columns = (ColumnDeclaration(name="流水", kind="numeric", unit="元"), ColumnDeclaration(name="kind", kind="categorical", level=2))
    return replace(made, parties=(replace(made.parties[0], columns=columns), *made.parties[1:]))


def test_canonical_bytes_come_back_as_the_same_manifest_and_bytes() -> None:
    read = read_manifest(whole().canonical())
    assert read == whole()
    assert read.canonical() == whole().canonical()
    assert read.hash == whole().hash


def test_every_flipped_bit_is_refused_or_another_hash() -> None:
    raw, refused, other = whole().canonical(), 0, 0
    for place in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << (place % 8)
        try:
            read = read_manifest(bytes(changed))
        except (PeerError, ConfigurationError):
            refused += 1
            continue
        other += 1
        assert read.hash != whole().hash
        assert read.canonical() == bytes(changed)
    print(f"of {8 * len(raw)} flipped bits {refused} are refused, {other} are another run; 0 are this one")
    assert refused and other


def test_mutations_raise_nothing_but_the_two_errors() -> None:
    raw, rng, refused = whole().canonical(), np.random.default_rng(4), 0
    for _ in range(3000):
        changed = bytearray(raw)
        for place in rng.integers(0, len(raw), rng.integers(1, 5)):
            changed[place] = int(rng.integers(0, 256))
        try:
            read_manifest(bytes(changed[: rng.integers(0, len(raw) + 1)] if rng.random() < 0.2 else changed))
        except (PeerError, ConfigurationError):
            refused += 1
    print(f"seed 4: {refused} of 3,000 mutants refused, the rest are other runs; 0 crashes")


@pytest.mark.parametrize(
    "rewrite",
    [
        json.dumps, lambda d: json.dumps(d, sort_keys=True, separators=(",", ":"), ensure_ascii=True), lambda d: json.dumps(d) + " ",
        lambda d: json.dumps(dict(reversed(d.items())), separators=(",", ":"), ensure_ascii=False),
        lambda d: json.dumps(d | {"note": 1}, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        lambda d: json.dumps({k: v for k, v in d.items() if k != "attempt"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
    ],
)  # fmt: skip
def test_the_same_manifest_in_other_bytes_is_refused(rewrite: Any) -> None:
    document = json.loads(whole().canonical())
    with pytest.raises(PeerError):
        read_manifest(rewrite(document).encode())
    assert read_manifest(msgspec.json.encode(document, order="sorted")) == whole()  # control: sorted and compact, it is the one form


def test_a_doubled_key_and_endless_nesting_are_refused() -> None:
    raw = whole().canonical()
    for bad in (b'{"attempt":9,' + raw[1:], b"[" * 100_000, b"", b"null", b"\xff\xfe", raw + b"{}"):
        with pytest.raises(PeerError):
            read_manifest(bad)


def test_size_is_refused_first() -> None:
    with pytest.raises(PeerError, match="at most"):
        read_manifest(b"{" * 2000, limit=1000)


CHANGES: list[dict[str, Any]] = [
    {"run": "other"}, {"purpose": "marketing"}, {"seed": 8}, {"task": "binning"}, {"model": "scorecard"}, {"attempt": 1}, {"contracts": ()},
    {"privacy": PrivacySettings(minimum_cohort=1)}, {"settings": ModelSettings(C=None)}, {"code_version": "2"},
    {"coordinator": suite.signing_public(identity("other")).hex()}, {"requested_by": "validator"}, {"study": "s"},
    {"expires": "2027-01-01T00:00:00Z"}, {"privacy": PrivacySettings(label_noise=1.0)}, {"privacy": PrivacySettings(withdrawal="continue")},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_field_is_another_hash_and_the_signatures_do_not_hold(change: dict[str, Any]) -> None:
    signed = tuple(sign_manifest(whole(), name, SNAPSHOT, identity(name)) for name in NAMES)
    check_signatures(whole(), signed)
    changed = replace(whole(), **change)
    assert changed.hash != whole().hash
    with pytest.raises(PeerError, match="does not hold"):
        check_signatures(changed, signed)


def _sets() -> dict[str, tuple[Signature, ...]]:
    bank, platform, tax = (sign_manifest(whole(), name, SNAPSHOT, identity(name)) for name in NAMES)
    other = sign_manifest(replace(whole(), seed=8), "tax", SNAPSHOT, identity("tax"))
    return {
        "swapped": (Signature("bank", SNAPSHOT, platform.signature), Signature("platform", SNAPSHOT, bank.signature), tax),
        "dropped": (bank, platform),
        "none": (),
        "duplicated": (bank, platform, platform),
        "four": (bank, platform, tax, tax),
        "of another manifest": (bank, platform, other),
        "of another key": (bank, platform, sign_manifest(whole(), "tax", SNAPSHOT, identity("platform"))),
        "of a stranger": (bank, platform, sign_manifest(whole(), "court", SNAPSHOT, identity("court"))),
        "of the coordinator": (bank, platform, sign_manifest(whole(), "tax", SNAPSHOT, identity("coordinator"))),
        "for other data": (bank, platform, replace(tax, snapshot=b"t" * 32)),
        "for no data": (bank, platform, replace(tax, snapshot=b"")),
        "for one's own data under another's name": (bank, platform, replace(platform, party="tax")),
        "empty": (bank, platform, Signature("tax", SNAPSHOT, b"")),
        "of the bare hash": (bank, platform, Signature("tax", SNAPSHOT, suite.sign(identity("tax"), whole().hash))),
    }


@pytest.mark.parametrize("how", _sets())
def test_signatures_other_than_one_of_each_party_are_refused(how: str) -> None:
    with pytest.raises(PeerError):
        check_signatures(whole(), _sets()[how])


def test_control_one_of_each_party_is_taken_in_any_order_and_unchecked_signatures_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = tuple(sign_manifest(whole(), name, SNAPSHOT, identity(name)) for name in NAMES)
    assert check_signatures(whole(), signed) == dict.fromkeys(NAMES, SNAPSHOT)
    check_signatures(whole(), signed[::-1])
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    check_signatures(whole(), _sets()["swapped"])


def _party(number: int, **change: Any) -> Manifest:
    parties = list(whole().parties)
    parties[number] = replace(parties[number], **change)
    return replace(whole(), parties=tuple(parties))


UNFIT: dict[str, tuple[Manifest, str]] = {
    "two of one name": (_party(2, name="platform"), "one name"),
    "one called coordinator": (_party(2, name="coordinator"), "reserved"),
    "one called by a path": (_party(2, name="../bank"), "name"),
    "one key under two names": (_party(2, identity=whole().parties[1].identity), "identity key"),
    "a party with the coordinator's key": (_party(2, identity=whole().coordinator), "identity key"),
    "a key in capitals, which would be the same key again": (_party(2, identity=whole().parties[2].identity.upper()), "identity key"),
    "a key that is none": (_party(2, identity="zz"), "identity key"),
    "one party": (replace(whole(), parties=whole().parties[:1]), "2 to 8"),
    "no label": (_party(0, label=False), "label"),
    "two labels": (_party(1, label=True), "label"),
    "another suite": (replace(whole(), suite="none"), "suite"),
    "one partner, undeclared": (replace(whole(), parties=whole().parties[:2]), "one feature party"),
    "a run named by a path": (replace(whole(), run="../../outside"), "run's name"),
    "an expiry that is no time": (replace(whole(), expires="soon"), "expiry"),
    "a study named by a path": (replace(whole(), study="../study"), "study"),
    "epsilon without delta": (replace(whole(), privacy=PrivacySettings(epsilon=1.0)), "one of epsilon and delta"),
    "epsilon across parties": (replace(whole(), privacy=PrivacySettings(epsilon=1.0, delta=1e-6)), "over banks"),
    "a run of no name": (replace(whole(), run=""), "run's name"),
    "a run named by a hidden file": (replace(whole(), run=".."), "run's name"),
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_manifest_that_no_node_may_sign_is_refused(why: str) -> None:
    check_manifest(whole())
    unfit, message = UNFIT[why]
    with pytest.raises(ConfigurationError, match=message):
        check_manifest(unfit)
    with pytest.raises(ConfigurationError):
        read_manifest(unfit.canonical())


@pytest.mark.parametrize(
    "expires",
    ["2026-02-31T00:00:00Z", "2026-02-29T00:00:00Z", "\u0662026-06-01T00:00:00Z", "\u0662026-06-1T00:00:00Z", "2026-06-31T00:00:00Z",
     "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-06-01T24:00:00Z", "2026-06-01", ""],
)  # fmt: skip
def test_a_time_that_there_is_not_is_no_expiry(expires: str) -> None:
    with pytest.raises(ConfigurationError, match="expiry"):
        check_manifest(replace(whole(), expires=expires))


def test_control_a_leap_day_is_one_and_where_the_calendar_is_not_asked_any_day_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    check_manifest(replace(whole(), expires="2028-02-29T23:59:59Z"))
    monkeypatch.setattr(manifest_rules, "is_moment", lambda _: True)
    check_manifest(replace(whole(), expires="2026-02-31T00:00:00Z"))


OUT_OF_RANGE: list[tuple[str, PrivacySettings]] = [
    ("label_noise", PrivacySettings(label_noise=0.0)), ("label_noise", PrivacySettings(label_noise=101.0)),
    ("epsilon", PrivacySettings(epsilon=0.0, delta=1e-6)), ("epsilon", PrivacySettings(epsilon=101.0, delta=1e-6)),
    ("delta", PrivacySettings(epsilon=1.0, delta=0.0)), ("delta", PrivacySettings(epsilon=1.0, delta=0.01)),
]  # fmt: skip


@pytest.mark.parametrize(("key", "privacy"), OUT_OF_RANGE)
def test_noise_out_of_range_is_refused_and_the_place_is_named(key: str, privacy: PrivacySettings) -> None:
    with pytest.raises(PeerError, match=rf"\$\.privacy\.{key}"):
        read_manifest(replace(whole(), privacy=privacy).canonical())


def test_control_noise_at_the_end_of_its_range_is_read() -> None:
    noisy = replace(whole(), privacy=PrivacySettings(label_noise=100.0))
    assert read_manifest(noisy.canonical()) == noisy


def test_the_refusal_of_a_word_or_a_key_does_not_repeat_it() -> None:
    raw = whole().canonical()
    for bad in (raw.replace(b'"logistic"', b'"marker"'), b'{"marker - at `$.seed!`":1,' + raw[1:]):
        with pytest.raises(PeerError) as refusal:
            read_manifest(bad)
        assert "marker" not in str(refusal.value)
        assert "!" not in str(refusal.value)
