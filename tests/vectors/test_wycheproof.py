"""Published vectors, and our own negative ones, through the wrappers of the cipher suite; each kind of refusal with a weakened copy that fails.

`python -m tests.vectors.wycheproof` prints the counts.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.kernel import suite
from federation.kernel.secret import Secret
from tests.vectors import reference, wycheproof
from tests.vectors.write_wycheproof import ORDER_L, OWN, written
from tests.vectors.wycheproof import FILES, FOLDER, Wrappers, run

COUNTS = {
    "aes256_known_answers.json": 405, "chacha20_poly1305_test.json": 322, "ed25519_test.json": 210, "hkdf_sha256_test.json": 86,
    "own_chacha20_poly1305.json": 118, "own_derive.json": 39, "own_ed25519.json": 168, "own_keystream.json": 48, "own_x25519.json": 70,
    "x25519_test.json": 518,
}  # fmt: skip


# -- the vectors --------------------------------------------------------------------------------------------------------------------


def test_every_file_is_run() -> None:
    assert tuple(COUNTS) == FILES


@pytest.mark.parametrize("name", FILES)
def test_no_vector_comes_out_otherwise(name: str) -> None:
    report = run(name)
    assert report.run == report.stated == COUNTS[name]
    assert report.failures == (), f"{len(report.failures)} of {report.run} vectors of {name}"


@pytest.mark.parametrize("name", OWN)
def test_our_files_are_what_the_second_implementations_say(name: str) -> None:
    assert (FOLDER / name).read_text() == written(OWN[name]())


def test_the_second_implementations_say_what_is_published() -> None:
    """X25519 and AES-256 of `reference`, through the same vectors (HKDF's run on it anyway)."""

    def agree(private: Secret, public: bytes) -> Secret:
        if len(private) != 32 or len(public) != 32:
            raise ValueError("32 bytes")
        shared = reference.x25519(private.reveal(), public)
        if shared == bytes(32):
            raise ValueError("low order")
        return Secret(shared)

    def keystream(key: Secret, words: int, offset: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        return np.frombuffer(reference.keystream(key.reveal(), offset, words), np.uint64)

    second = Wrappers(agree=agree, keystream=keystream)
    assert run("x25519_test.json", second).failures == ()
    assert run("aes256_known_answers.json", second).failures == ()


def test_a_thousand_agreements_in_a_chain() -> None:
    """RFC 7748 section 5.2: the iteration's value after 1 and after 1,000 times."""
    scalar = point = (9).to_bytes(32, "little")
    for _ in range(1000):
        scalar, point = suite.agree(Secret(scalar), point).reveal(), scalar
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


# -- controls: what the vectors catch -----------------------------------------------------------------------------------------------


def opened(key: Secret, nonce: int, ciphertext: bytes) -> bytes:
    """Deciphered without a look at the tag."""
    counted = (1).to_bytes(4, "little") + nonce.to_bytes(12, "little")
    return Cipher(ChaCha20(key.reveal(), counted), mode=None).decryptor().update(ciphertext[:-16])


def without_tag(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes:
    return opened(key, nonce, ciphertext)


def half_a_tag(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes | None:
    message = opened(key, nonce, ciphertext)
    return message if suite.seal(key, nonce, header, message)[-16:-8] == ciphertext[-16:-8] else None


def big_endian(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes | None:
    return suite.unseal(key, int.from_bytes(nonce.to_bytes(12, "little"), "big"), header, ciphertext)


def short_tag(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes | None:
    """As much of the tag as there is, from 16 bytes down to none."""
    for size in range(16, -1, -1):
        body, tag = ciphertext[: max(len(ciphertext) - size, 0)], ciphertext[max(len(ciphertext) - size, 0) :]
        message = opened(key, nonce, body + bytes(16))
        if suite.seal(key, nonce, header, message)[-16:].startswith(tag):
            return message
    return None


def reduced_s(public: bytes, message: bytes, signature: bytes) -> bool:
    s = int.from_bytes(signature[32:], "little") % ORDER_L
    return len(signature) == 64 and suite.verifies(public, message, signature[:32] + s.to_bytes(32, "little"))


def first_64(public: bytes, message: bytes, signature: bytes) -> bool:
    return suite.verifies(public, message, signature[:64])


def any_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    return len(public) == 32


def cut_signer(public: bytes, message: bytes, signature: bytes) -> bool:
    return suite.verifies(public[:32], message, signature)


def zeros_for_low_order(private: Secret, public: bytes) -> Secret:
    try:
        return suite.agree(private, public)
    except ValueError:
        return Secret(bytes(32))


def cut_public(private: Secret, public: bytes) -> Secret:
    return suite.agree(private, public[:32])


def top_bit_kept(private: Secret, public: bytes) -> Secret:
    """Takes the top bit of a public key for part of the number."""
    value = int.from_bytes(public, "little") % reference.CURVE_P
    return suite.agree(private, value.to_bytes(32, "little"))


def prehashed(private: Secret, message: bytes) -> bytes:
    return suite.sign(private, suite.plain_digest(message))


def unframed(key: Secret, *context: bytes | str | int, length: int = 32) -> Secret:
    joined = b"".join(x if isinstance(x, bytes) else str(x).encode() for x in context)
    return suite.derive(key, joined, length=length)


def unnamed(key: Secret, *context: bytes | str | int, length: int = 32) -> Secret:
    return Secret(reference.hkdf(key.reveal(), b"", suite.frame(*context), length))


def unsalted(key: Secret, salt: bytes, info: bytes, size: int) -> bytes:
    return reference.hkdf(key.reveal(), b"", info, size)


def carry_within_64_bits(key: Secret, words: int, offset: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    block, out = offset // 2, []
    for i in range(-(-(words + offset % 2) // 2)):
        counter = (block >> 64 << 64) | (block + i) % (1 << 64)
        out.append(Cipher(AES(key.reveal()), CTR(counter.to_bytes(16, "big"))).encryptor().update(bytes(16)))
    return np.frombuffer(b"".join(out), np.uint64)[offset % 2 :][:words]


def each_piece_from_the_start(key: Secret, words: int, offset: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    pieces = [suite.keystream(key, min(words - start, 1 << 15), offset) for start in range(0, words, 1 << 15)]
    return np.concatenate(pieces)


def whole_blocks(key: Secret, words: int, offset: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return suite.keystream(key, words, offset // 2 * 2)


def little_endian(key: Secret, words: int, offset: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    counter = int.from_bytes((offset // 2).to_bytes(16, "little"), "big")
    return suite.keystream(key, words, 2 * counter + offset % 2)


Control = tuple[str, str, Any, str, int]
REFUSALS: list[Control] = [  # weakened wrappers that still take every valid vector
    ("chacha20_poly1305_test.json", "unseal", without_tag, "ModifiedTag", 60),
    ("chacha20_poly1305_test.json", "unseal", half_a_tag, "ModifiedTag", 27),
    ("own_chacha20_poly1305.json", "unseal", without_tag, "ModifiedTag", 21),
    ("own_chacha20_poly1305.json", "unseal", without_tag, "ModifiedAad", 17),
    ("own_chacha20_poly1305.json", "unseal", without_tag, "ModifiedCiphertext", 19),
    ("own_chacha20_poly1305.json", "unseal", without_tag, "ModifiedNonce", 13),
    ("own_chacha20_poly1305.json", "unseal", without_tag, "ModifiedKey", 7),
    ("own_chacha20_poly1305.json", "unseal", short_tag, "TruncatedTag", 32),
    ("ed25519_test.json", "verifies", reduced_s, "SignatureMalleability", 4),
    ("ed25519_test.json", "verifies", first_64, "SignatureWithGarbage", 3),
    ("ed25519_test.json", "verifies", any_signature, "SignatureMalleability", 8),
    ("ed25519_test.json", "verifies", any_signature, "SignatureWithGarbage", 5),
    ("ed25519_test.json", "verifies", any_signature, "InvalidSignature", 20),
    ("ed25519_test.json", "verifies", any_signature, "InvalidEncoding", 22),
    ("ed25519_test.json", "verifies", any_signature, "TruncatedSignature", 3),
    ("own_ed25519.json", "verifies", reduced_s, "SignatureMalleability", 60),
    ("own_ed25519.json", "verifies", any_signature, "InvalidSignature", 48),
    ("own_ed25519.json", "verifies", any_signature, "ModifiedSignature", 28),
    ("own_ed25519.json", "verifies", any_signature, "ModifiedMessage", 14),
    ("own_ed25519.json", "verifies", cut_signer, "InvalidPublicKey", 2),
    ("x25519_test.json", "agree", zeros_for_low_order, "ZeroSharedSecret", 31),
    ("own_x25519.json", "agree", zeros_for_low_order, "LowOrderPublic", 28),
    ("own_x25519.json", "agree", cut_public, "InvalidPublicSize", 2),
]
VALUES: list[Control] = [  # wrappers that compute something else
    ("chacha20_poly1305_test.json", "unseal", big_endian, "Pseudorandom", 120),
    ("x25519_test.json", "agree", top_bit_kept, "NonCanonicalPublic", 12),
    ("hkdf_sha256_test.json", "hkdf", unsalted, "OutputCollision", 9),
    ("own_derive.json", "derive", unframed, "Context", 10),
    ("own_derive.json", "derive", unnamed, "Context", 20),
    ("own_ed25519.json", "sign", prehashed, "Ktv", 4),
    ("own_keystream.json", "keystream", carry_within_64_bits, "CounterCarry", 6),
    ("own_keystream.json", "keystream", each_piece_from_the_start, "Length", 6),
    ("own_keystream.json", "keystream", whole_blocks, "Ktv", 4),
    ("aes256_known_answers.json", "keystream", little_endian, "KnownAnswer", 132),
]


def weakened_report(control: Control) -> wycheproof.Report:
    name, wrapper, weakened, flag, caught = control
    report = run(name, dataclasses.replace(Wrappers(), **{wrapper: weakened}))
    print(f"{name} with {weakened.__name__}: {report.failed(flag)} vectors flagged {flag} failed, {caught} expected, of {report.run}")
    assert report.run == COUNTS[name]
    assert report.failed(flag) == caught > 0
    return report


@pytest.mark.parametrize("control", REFUSALS, ids=lambda control: f"{control[2].__name__}-{control[3]}")
def test_a_wrapper_that_refuses_less_fails(control: Control) -> None:
    report, right = weakened_report(control), run(control[0])
    assert report.outcomes["valid", "accepted"] == right.outcomes["valid", "accepted"]


@pytest.mark.parametrize("control", VALUES, ids=lambda control: f"{control[2].__name__}-{control[3]}")
def test_a_wrapper_that_computes_something_else_fails(control: Control) -> None:
    weakened_report(control)


def test_a_vector_left_out_or_unreadable_shows(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "own_derive.json").read_text())
    left = document["testGroups"][0]["tests"].pop()
    (tmp_path / "short.json").write_text(json.dumps(document))
    report = run("short.json", folder=tmp_path)
    assert report.run == report.stated - 1
    document["testGroups"][0]["tests"].append(left | {"key": "no bytes"})
    (tmp_path / "bad.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="hexadecimal"):  # though the vector is an invalid one, which ValueError would satisfy
        run("bad.json", folder=tmp_path)


def test_a_wrong_value_is_wrong_and_not_refused() -> None:
    assert not wycheproof.holds("acceptable", (), "wrong")
    assert not wycheproof.holds("invalid", (), "wrong")
    assert not wycheproof.holds("acceptable", ("ZeroSharedSecret",), "accepted")
