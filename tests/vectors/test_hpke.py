"""Sealing to a public key is RFC 9180's: the RFC's own vector, and a second implementation both ways."""

from __future__ import annotations

import pytest

from federation.carriage.sealing import seal_to
from federation.kernel import suite
from federation.kernel.secret import Secret
from tests.vectors import hpke

FRESH = bytes.fromhex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600")
PRIVATE = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
PUBLIC = bytes.fromhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
TEXT = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
SEALED = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"


def test_the_second_implementation_gives_the_vector_of_the_rfc() -> None:
    """RFC 9180, A.2.1, sequence number 0; its associated data the library's one message does not have."""
    assert suite.agreement_public(Secret(PRIVATE)) == PUBLIC
    assert hpke.seal(FRESH, PUBLIC, INFO, b"Count-0", TEXT)[32:].hex() == SEALED


@pytest.mark.parametrize("size", [0, 1, 5_000])
def test_both_open_what_the_other_has_sealed(size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert suite.open_sealed(Secret(PRIVATE), INFO, hpke.seal(FRESH, PUBLIC, INFO, b"", text)) == text
    assert hpke.open_(PRIVATE, seal_to(PUBLIC, INFO, text), INFO, b"") == text


def test_nothing_else_opens_and_nothing_raises() -> None:
    sealed = seal_to(PUBLIC, INFO, TEXT)
    assert len(sealed) == len(TEXT) + suite.HPKE_BYTES
    assert suite.open_sealed(Secret(PRIVATE), INFO, sealed) == TEXT
    assert suite.open_sealed(Secret(PRIVATE), INFO + b" ", sealed) is None
    assert suite.open_sealed(Secret(FRESH), INFO, sealed) is None
    for raw in (b"", sealed[:31], sealed[:32], sealed[:-1], sealed + b"\0", bytes(32) + sealed[32:], bytes(len(sealed))):
        assert suite.open_sealed(Secret(PRIVATE), INFO, raw) is None


def test_every_sealing_draws_a_key_of_its_own() -> None:
    sealed = [seal_to(PUBLIC, INFO, TEXT) for _ in range(100)]
    assert len({raw[:32] for raw in sealed}) == len({raw[32:] for raw in sealed}) == 100


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError):
        seal_to(bytes(32), INFO, TEXT)
