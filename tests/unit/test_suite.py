"""The cipher suite against published vectors, and what it refuses."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as some

from federation.kernel import suite
from federation.kernel.errors import LocalError
from federation.kernel.secret import Secret

KEY = Secret(bytes(range(32)))
LOW_ORDER = (bytes(32), (1).to_bytes(32, "little"), bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"))


def test_ed25519_is_that_of_rfc_8032_test_2() -> None:
    private = Secret(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert suite.signing_public(private) == public
    assert suite.sign(private, b"\x72") == signature
    assert suite.verifies(public, b"\x72", signature)


def test_x25519_is_that_of_rfc_7748_section_6_1() -> None:
    alice = Secret(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = Secret(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert suite.agreement_public(alice) == bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert suite.agree(alice, suite.agreement_public(bob)) == suite.agree(bob, suite.agreement_public(alice)) == Secret(shared)


def test_chacha20_poly1305_opens_only_what_was_sealed() -> None:
    sealed = suite.seal(KEY, 7, b"header", b"plaintext")
    assert suite.unseal(KEY, 7, b"header", sealed) == b"plaintext"
    assert b"plaintext" not in sealed
    others = [
        (Secret(bytes(32)), 7, b"header", sealed), (KEY, 8, b"header", sealed), (KEY, 7, b"Header", sealed), (KEY, 7, b"header", sealed[:-1]),
        (KEY, 7, b"header", sealed + b"\0"), (KEY, 7, b"header", b""), (KEY, 7, b"header", b"short"),
    ]  # fmt: skip
    others += [(KEY, 7, b"header", bytes([*sealed[:i], sealed[i] ^ 1, *sealed[i + 1 :]])) for i in range(len(sealed))]
    assert all(suite.unseal(*other) is None for other in others)


ALIEN = [(Secret(bytes(size)), 0) for size in (0, 16, 31, 33, 64)] + [(KEY, nonce) for nonce in (-1, 1 << 96, 1 << 200)]


@pytest.mark.parametrize("place", range(len(ALIEN)))
def test_a_key_or_nonce_that_is_none_is_our_own_error_and_never_the_librarys(place: int) -> None:
    key, nonce = ALIEN[place]
    for call in (suite.seal, suite.unseal):
        with pytest.raises(LocalError, match="cipher suite") as caught:
            call(key, nonce, b"header", bytes(40))
        assert caught.value.__cause__ is None
    with pytest.raises((ValueError, OverflowError)):  # control: what the library says to the same
        ChaCha20Poly1305(key.reveal()).decrypt(nonce.to_bytes(12, "little"), bytes(40), b"header")


def test_the_last_nonce_there_is_seals_and_opens() -> None:
    last = (1 << 96) - 1
    assert suite.unseal(KEY, last, b"", suite.seal(KEY, last, b"", b"plaintext")) == b"plaintext"


def test_two_gibibytes_are_not_sealed_and_do_not_open() -> None:
    with mock.patch.object(suite, "MOST_SEALED", 99):
        assert suite.unseal(KEY, 0, b"", bytes(100)) is None
        assert suite.unseal(KEY, 0, bytes(100), bytes(40)) is None
        for header, plaintext in ((b"", bytes(100)), (bytes(100), b"")):
            with pytest.raises(LocalError, match="2 GiB"):
                suite.seal(KEY, 0, header, plaintext)
        assert len(suite.seal(KEY, 0, bytes(99), bytes(99))) == 99 + 16


@pytest.mark.parametrize("length", [-1, 0, 8161])
def test_a_derived_key_of_no_length_of_hkdfs_is_our_own_error(length: int) -> None:
    assert len(suite.derive(KEY, "a", length=8160)) == 8160
    with pytest.raises(LocalError, match="HKDF"):
        suite.derive(KEY, "a", length=length)


@pytest.mark.parametrize(("words", "offset"), [(-1, 0), (1, -1), (1, 1 << 129), (2, (1 << 129) - 1)])
def test_a_stretch_of_keystream_that_there_is_not_is_our_own_error(words: int, offset: int) -> None:
    assert len(suite.keystream(KEY, 1, (1 << 129) - 1)) == 1
    with pytest.raises(LocalError, match="stretch"):
        suite.keystream(KEY, words, offset)


def test_a_low_order_key_agrees_on_nothing() -> None:
    for public in (*LOW_ORDER, b"short", bytes(33)):
        with pytest.raises(ValueError):
            suite.agree(KEY, public)


def test_a_malformed_key_or_signature_verifies_nothing_and_raises_nothing() -> None:
    public, good = suite.signing_public(KEY), suite.sign(KEY, b"m")
    assert suite.verifies(public, b"m", good)
    for key, message, signature in (
        (public, b"n", good), (public, b"m", good[:-1]), (public, b"m", b""), (public, b"m", good + b"\0"), (b"", b"m", good), (bytes(31), b"m", good),
        (suite.signing_public(Secret(bytes(32))), b"m", good), (bytes(32), b"m", bytes(64)),
    ):  # fmt: skip
        assert not suite.verifies(key, message, signature)


Part = some.one_of(some.binary(max_size=6), some.text(max_size=4), some.integers(-300, 300))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(some.lists(Part, max_size=4), some.lists(Part, max_size=4))
def test_no_two_lists_of_parts_frame_alike(left: list[bytes | str | int], right: list[bytes | str | int]) -> None:
    def plain(parts: list[bytes | str | int]) -> list[bytes]:
        return [part if isinstance(part, bytes) else str(part).encode() for part in parts]

    assert (suite.frame(*left) == suite.frame(*right)) == (plain(left) == plain(right))


def test_control_joined_without_lengths_two_lists_do_meet() -> None:
    assert b"".join([b"ab", b"c"]) == b"".join([b"a", b"bc"])
    assert suite.frame(b"ab", b"c") != suite.frame(b"a", b"bc")
    assert suite.digest(b"ab", b"c") != suite.digest(b"a", b"bc")


def test_derived_keys_depend_on_every_part_of_the_context_and_on_the_length() -> None:
    keys = {suite.derive(KEY, *context).reveal() for context in (("a",), ("b",), ("a", "b"), ("ab",), ("a", b"b", 1), ("a", b"b", 2), ())}
    assert len(keys) == 7
    assert suite.derive(KEY, "a") == suite.derive(KEY, "a")
    assert suite.derive(Secret(bytes(32)), "a") != suite.derive(KEY, "a")
    assert len(suite.derive(KEY, "a", length=80)) == 80


def test_the_keystream_is_aes_256_in_counter_mode() -> None:
    block = Cipher(AES(KEY.reveal()), ECB()).encryptor()
    counters = [number.to_bytes(16, "big") for number in range(3)]
    assert suite.keystream(KEY, 6).tobytes() == b"".join(block.update(counter) for counter in counters)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(some.integers(0, 70_000), some.integers(0, 200))
def test_any_stretch_of_the_keystream_is_the_same_as_in_the_whole(offset: int, words: int) -> None:
    whole = WHOLE[offset : offset + words]
    assert np.array_equal(suite.keystream(KEY, words, offset), whole)


WHOLE = suite.keystream(KEY, 70_200)
