"""SEAL's bytes, residues and keys against fixed vectors and second implementations in whole numbers; and 10,000 mutations of a message."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.encrypted_linear import seal_bytes
from federation.encrypted_linear.keys import CommonHalves, OwnerKey
from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.parameters import ANSWER_MODULUS, ANSWER_PRIMES, DATA_PRIMES, DEGREE, KEY_PRIMES, PLAIN_MODULUS
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import Encrypted, _read_encrypted, ask_blinded, own
from federation.encrypted_linear.residues import Words, add, expand, read, subtract, times
from federation.encrypted_linear.seal_bytes import cipher_header, layout_is_known, plain_header, saved, scheme
from federation.kernel import suite
from federation.kernel.codec import Array, decode, encode
from federation.kernel.errors import LocalError, PeerError
from federation.kernel.role import Received
from federation.kernel.secret import Secret
from privacy.attacks.encrypted_linear import decrypt
from tests.rooms import Room

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
SEED = 20_240_612


# -- residues ---------------------------------------------------------------------------------------------------------------------


def edge(prime: int) -> st.SearchStrategy[int]:
    return st.integers(0, prime - 1) | st.sampled_from([0, 1, 2, prime // 2, prime - 2, prime - 1])


@QUICK
@given(st.data())
def test_residue_arithmetic_equals_whole_number_arithmetic(data: st.DataObject) -> None:
    pairs = [[(data.draw(edge(prime)), data.draw(edge(prime))) for _ in range(8)] for prime in KEY_PRIMES]
    left, right = (np.array([[pair[side] for pair in row] for row in pairs], np.uint64) for side in (0, 1))
    for made, rule in ((add, int.__add__), (subtract, int.__sub__), (times, int.__mul__)):
        expected = [[rule(a, b) % prime for a, b in row] for row, prime in zip(pairs, KEY_PRIMES, strict=True)]
        assert made(left, right, KEY_PRIMES).tolist() == expected


def test_products_of_many_residues_are_exact() -> None:
    rng = np.random.default_rng(SEED)
    left, right = (np.stack([rng.integers(prime - 1000, prime, 50_000, dtype=np.uint64) for prime in DATA_PRIMES]) for _ in range(2))
    expected = (left.astype(object) * right.astype(object)) % np.array(DATA_PRIMES, object)[:, None]
    assert np.array_equal(times(left, right, DATA_PRIMES).astype(object), expected)


def test_expansion_follows_its_description_word_by_word() -> None:
    """A second implementation, with rejections and no numpy, for the prime at which one word in eight is rejected."""
    key = Secret(bytes(range(32)))
    stream = suite.derive(key, "residues", 3).reveal()
    raw = Cipher(AES(stream), CTR(bytes(16))).encryptor().update(bytes(8 * 4 * DEGREE))
    words = [int.from_bytes(raw[8 * i : 8 * i + 8], "little") % (1 << 17) for i in range(4 * DEGREE)]
    kept = [word for word in words if word < KEY_PRIMES[3]]
    assert expand(key, 2, KEY_PRIMES)[:, 3].ravel().tolist() == kept[: 2 * DEGREE]


def test_expansion_gives_the_fixed_vector() -> None:
    found = expand(Secret(bytes(32)), 1, KEY_PRIMES)
    assert found[0, :, 0].tolist() == EXPANDED_FIRST
    assert hashlib.sha256(found.tobytes()).hexdigest() == EXPANDED_SHA256


EXPANDED_FIRST = [10998932912391587, 13836657860551995, 1068938866123483, 63146]
EXPANDED_SHA256 = "d7a6be9a71def2826939a1b7571cf45e5458bb60f12490cf8e1f6880585c712b"


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_residue_that_is_not_below_its_prime_is_refused(place: int) -> None:
    words = np.zeros((1, 4, DEGREE), np.uint64)
    words[0, place, 77] = KEY_PRIMES[place] - 1
    assert np.array_equal(read(Array.of(words), "bank", (1, 4, DEGREE), KEY_PRIMES), words)
    for bad in (KEY_PRIMES[place], (1 << 64) - 1):
        words[0, place, 77] = bad
        with pytest.raises(PeerError, match="bank"):
            read(Array.of(words), "bank", (1, 4, DEGREE), KEY_PRIMES)


# -- the layout ---------------------------------------------------------------------------------------------------------------------


def test_headers_are_the_fixed_vectors() -> None:
    engine = scheme()
    assert plain_header((0, 0, 0, 0), DEGREE).hex() == PLAIN_HEADER
    assert cipher_header(engine.data_level, 3, transformed=True).hex() == CIPHER_HEADER


PLAIN_HEADER = (
    "5ea1100404000000580001000000000000000000000000000000000000000000000000000000000000000000000000000020"
    "000000000000000000000000f03f5ea110040400000018000100000000000020000000000000"
)
CIPHER_HEADER = (
    "5ea1100404000000710006000000000016ddd6a50b8783c22aa11dc035e8227f003860c2b1420546b7d87125223331fc0102"
    "0000000000000000200000000000000300000000000000000000000000f03f01000000000000005ea1100404000000180006"
    "000000000000c0000000000000"
)


def test_the_layout_check_accepts_this_seal_and_refuses_headers_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout_is_known(scheme())
    engine = scheme()
    other = seal_bytes.Scheme(engine.seal, engine.context, engine.evaluator, engine.key_level, engine.answer_level, engine.data_level)
    assert not layout_is_known(other)


def test_a_machine_without_memory_files_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    with pytest.raises(LocalError, match="Linux"):
        scheme.__wrapped__()


def test_another_choice_of_primes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_bytes, "PRIME_BITS", (54, 54, 54, 18))
    with pytest.raises(LocalError, match="other parameters"):
        scheme.__wrapped__()


def test_polynomials_pass_through_seal_unchanged() -> None:
    rng, engine = np.random.default_rng(SEED), scheme()
    coefficients = rng.integers(0, PLAIN_MODULUS, DEGREE, dtype=np.uint64)
    assert np.frombuffer(engine.plaintext(coefficients).to_bytes(), "<u8", offset=88).tolist() == coefficients.tolist()
    residues = np.stack([[rng.integers(0, prime, DEGREE, dtype=np.uint64) for prime in DATA_PRIMES] for _ in range(2)])
    assert np.array_equal(engine.residues(engine.ciphertext(residues)), residues)
    public = np.stack([[rng.integers(0, prime, DEGREE, dtype=np.uint64) for prime in KEY_PRIMES] for _ in range(2)])
    assert np.array_equal(engine.public_residues(engine.public_key(public)), public)


def test_no_descriptor_is_left_open() -> None:
    engine, folder = scheme(), Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    for _ in range(20):
        saved(engine.secret_key(np.zeros((4, DEGREE), np.uint64)))
    assert len(list(folder.iterdir())) == before


# -- keys ---------------------------------------------------------------------------------------------------------------------------


def halves(blocks: int = 1) -> CommonHalves:
    key = Secret(bytes(31) + b"\7")
    return CommonHalves(expand(key, 1, KEY_PRIMES)[0], expand(key, blocks, DATA_PRIMES))


def test_a_secret_key_is_ternary_and_reads_back_as_itself() -> None:
    raw = scheme().fresh_secret()
    coefficients = np.frombuffer(raw, np.int8)
    assert len(raw) == DEGREE
    assert {int(x) for x in np.unique(coefficients)} == {-1, 0, 1}
    assert all(abs(int((coefficients == value).sum()) - DEGREE // 3) < 300 for value in (-1, 0, 1))
    transformed = scheme().key_transform(coefficients.astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
    again = np.frombuffer(saved(scheme().secret_key(transformed)), "<u8", offset=88).reshape(4, DEGREE)
    assert np.array_equal(again, transformed)
    assert scheme().fresh_secret() != raw


def test_moved_halves_still_belong_together() -> None:
    """p0 + p1 s is SEAL's small error, at every one of the four primes; and a ciphertext with a given c1 decrypts."""
    raw, common = scheme().fresh_secret(), halves(2)
    key = OwnerKey(Secret(raw))
    p0 = key.public_half(common.p1)
    s = scheme().key_transform(np.frombuffer(raw, np.int8).astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
    error = add(p0, times(common.p1, s, KEY_PRIMES), KEY_PRIMES)
    assert _errors(error).max() <= 21
    vector = np.random.default_rng(SEED).integers(-(1 << 50), 1 << 50, DEGREE + 9)
    assert decrypt(raw, key.encrypt(vector, common.c1), common.c1)[: DEGREE + 9].tolist() == vector.tolist()


def _errors(transformed: Words) -> Any:
    """The magnitude of transformed residues whose coefficients are small, (3, N)."""
    engine = scheme()
    carrier = engine.ciphertext(np.stack([transformed[:3], np.ones((3, DEGREE), np.uint64)]))
    engine.evaluator.transform_from_ntt_inplace(carrier)
    found = engine.residues(carrier)[0].view(np.int64)
    primes = np.array(DATA_PRIMES)[:, None]
    return np.minimum(found, primes - found)


def test_control_a_half_that_was_not_moved_belongs_to_no_key() -> None:
    raw = scheme().fresh_secret()
    key, common = OwnerKey(Secret(raw)), halves()
    s = scheme().key_transform(np.frombuffer(raw, np.int8).astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
    other = expand(Secret(b"x" * 32), 1, KEY_PRIMES)[0]
    assert _errors(add(key.public_half(common.p1), times(other, s, KEY_PRIMES), KEY_PRIMES)).max() > 1 << 50


def test_opening_equals_a_second_implementation_in_whole_numbers_and_seals_decryptor() -> None:
    rng, raw = np.random.default_rng(SEED), scheme().fresh_secret()
    key, s = OwnerKey(Secret(raw)), np.frombuffer(raw, np.int8).tolist()
    c1 = np.stack([[rng.integers(0, prime, DEGREE, dtype=np.uint64) for prime in ANSWER_PRIMES] for _ in range(3)])
    c0 = np.stack([rng.integers(0, prime, 3, dtype=np.uint64) for prime in ANSWER_PRIMES], axis=1)
    found = key.open(c1, c0).tolist()
    for answer in range(3):
        residues = [
            (int(c0[answer, m]) + sum(int(c1[answer, m, i]) * s[DEGREE - 1 - i] for i in range(DEGREE))) % prime
            for m, prime in enumerate(ANSWER_PRIMES)
        ]
        p, q = ANSWER_PRIMES
        phase = (residues[0] * q * pow(q, -1, p) + residues[1] * p * pow(p, -1, q)) % (p * q)
        assert found[answer] == (phase * PLAIN_MODULUS + ANSWER_MODULUS // 2) // ANSWER_MODULUS % PLAIN_MODULUS
        assert found[answer] == by_seal(raw, c0[answer], c1[answer])


def by_seal(raw: bytes, c0: Words, c1: Words) -> int:
    """The answer as a ciphertext with one coefficient of c0, by SEAL's own decryptor."""
    engine = scheme()
    residues = np.zeros((2, 2, DEGREE), np.uint64)
    residues[0, :, DEGREE - 1], residues[1] = c0, c1
    ciphertext = engine.seal.Ciphertext()
    ciphertext.load_bytes(engine.context, cipher_header(engine.answer_level, 2, transformed=False) + residues.tobytes())
    transformed = engine.key_transform(np.frombuffer(raw, np.int8).astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
    plain = engine.seal.Decryptor(engine.context, engine.secret_key(transformed)).decrypt(ciphertext)
    return int(np.frombuffer(plain.to_bytes(), "<u8", offset=88)[DEGREE - 1])


def test_a_key_shows_nothing_of_itself() -> None:
    key = OwnerKey(Secret(scheme().fresh_secret()))
    assert "[" not in repr(key)
    assert "array" not in repr(halves())


# -- mutations ----------------------------------------------------------------------------------------------------------------------

FUZZED = 10_000
BACK_TO_SEAL = 150


def test_ten_thousand_mutated_messages_raise_peer_errors_or_are_answered_and_never_crash() -> None:
    """Of 10,000 mutations of an honest message, those that still decode are checked; the first 150 that pass go on through SEAL itself."""
    rng, columns = np.random.default_rng(SEED), Columns.whole(np.arange(10)[:, None], 4)
    transforms = Transforms(columns)
    room = Room(("bank", "a"))
    _, step = next(own(room.run("bank"), {"a": 1}, np.ones(10, np.int64), 4))
    honest = encode(step.send["a"])
    refused = answered = 0
    for number in range(FUZZED):
        body = mutated(honest, rng)
        holder = ask_blinded(Room(("bank", "a"), session=number.to_bytes(32, "big"), shelves=room.shelves).run("a"), "bank", transforms)
        _, wanted = next(holder)
        try:
            message = decode(body, Encrypted, "bank", wanted.limit)
            if answered < BACK_TO_SEAL:
                try:
                    holder.send(Received({"bank": message}))
                except StopIteration:
                    answered += 1
            else:
                _read_encrypted("bank", message, columns)
        except PeerError:
            refused += 1
    assert answered == BACK_TO_SEAL
    assert refused > FUZZED // 10


def mutated(body: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: a bit, a byte, a cut, a repeat, or bytes near the front, where the fields are."""
    out = bytearray(body)
    for _ in range(int(rng.integers(1, 4))):
        place, kind = int(rng.integers(0, len(out))), int(rng.integers(0, 5))
        if kind == 0:
            out[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[place] = int(rng.choice([0, 255, 127, 128]))
        elif kind == 2:
            del out[place : place + int(rng.integers(1, 9))]
        elif kind == 3:
            out[place:place] = out[place : place + 8]
        else:
            out[min(len(out) - 1, int(rng.integers(0, 80)))] = int(rng.integers(0, 256))
    return bytes(out)
