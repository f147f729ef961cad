"""The one way between numpy and Microsoft SEAL: its uncompressed serialisation, written and read here and nowhere else.

No SEAL bytes ever travel. Peers send coefficient arrays; the receiver checks their shape and that every residue lies below its prime, and
only then are they framed here with headers that this machine made itself. So there is nothing of a peer's left for SEAL to parse.

Layouts of SEAL 4.4 (native/src/seal/{serialization,plaintext,ciphertext,dynarray}.cpp), little-endian:
    header      magic a15e, size 10, version 4.4, compression 0, 2 reserved; u64 total size
    Plaintext   header, parms_id (32), u64 coefficients, f64 scale, DynArray
    Ciphertext  header, parms_id (32), u8 ntt, u64 polynomials, u64 N, u64 primes, f64 scale, u64 correction, DynArray
    DynArray    header, u64 words, words
The binding saves ciphertexts and keys to a path only, so a memory file (no disk, no name) stands for one.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import LocalError, PeerError

Words: TypeAlias = NDArray[np.uint64]
Seal: TypeAlias = Any

DEGREE = 8192
PRIME_BITS = (54, 54, 54, 17)
PLAIN_BITS = 58
DATA_PRIMES = 3
SENT_PRIMES = 2
_HEADER = bytes.fromhex("5ea1100404000000")
_ARRAY = 24
_PLAIN = 16 + 32 + 8 + 8
_CIPHER = 16 + 32 + 1 + 8 + 8 + 8 + 8 + 8


class Parameters:
    """The BFV parameters and SEAL's context. primes: as integers, the last for key switching only."""

    def __init__(self) -> None:
        import seal  # takes a moment, and only an encrypted sum needs it

        self.seal: Seal = seal
        parms = seal.EncryptionParameters(seal.scheme_type.bfv)
        parms.set_poly_modulus_degree(DEGREE)
        parms.set_coeff_modulus(seal.CoeffModulus.Create(DEGREE, list(PRIME_BITS)))
        parms.set_plain_modulus(1 << PLAIN_BITS)
        self.context: Seal = seal.SEALContext(parms, True, seal.sec_level_type.tc128)
        self.primes = tuple(int(modulus.value()) for modulus in parms.coeff_modulus())
        self.evaluator: Seal = seal.Evaluator(self.context)
        self.data_id = self.context.first_parms_id()
        self._ids = self._parms_ids()

    def _parms_ids(self) -> dict[int, bytes]:
        """The 32 bytes that name each level, by number of primes; and the check that this SEAL writes what this file reads."""
        generator = self.seal.KeyGenerator(self.context)
        public = _saved(generator.create_public_key())
        encrypted = self.seal.Encryptor(self.context, generator.secret_key()).encrypt_symmetric(self.plaintext(np.arange(DEGREE, dtype=np.uint64)))
        data = _saved(encrypted)
        self.evaluator.mod_switch_to_next_inplace(encrypted)
        sent = _saved(encrypted)
        ids = {}
        for primes, raw in ((4, public), (DATA_PRIMES, data), (SENT_PRIMES, sent)):
            words = 2 * primes * DEGREE
            if raw[:8] != _HEADER or len(raw) != _CIPHER + _ARRAY + 8 * words or struct.unpack_from("<Q", raw, _CIPHER + 16)[0] != words:
                raise LocalError(
                    "encrypted_linear", "this version of SEAL writes another format than 4.4", "Install seal-python 4.4 (pip install 'seal-python>=4.4,<4.5')."
                )
            ids[primes] = raw[16:48]
        return ids

    # -- plaintexts -------------------------------------------------------------------------------------------------------------

    def plaintext(self, coefficients: Words) -> Seal:
        """Coefficients modulo t, (N,) uint64, as a Plaintext."""
        out = self.seal.Plaintext()
        count = len(coefficients)
        head = _HEADER + struct.pack("<Q", _PLAIN + _ARRAY + 8 * count) + bytes(32) + struct.pack("<Qd", count, 1.0)
        out.load_bytes(self.context, head + _array(np.ascontiguousarray(coefficients, "<u8").tobytes()))
        return out

    def coefficients(self, plaintext: Seal) -> Words:
        """A Plaintext's coefficients, (N,) uint64."""
        found = np.frombuffer(plaintext.to_bytes(), "<u8", offset=_PLAIN + _ARRAY)
        out = np.zeros(DEGREE, np.uint64)
        out[: len(found)] = found
        return out

    # -- ciphertexts ------------------------------------------------------------------------------------------------------------

    def ciphertext(self, residues: Words, *, ntt: bool = False) -> Seal:
        """Residues, (2, primes, N) uint64 each below its prime, as a Ciphertext."""
        out = self.seal.Ciphertext()
        out.load_bytes(self.context, self._cipher_head(residues.shape[1], ntt=ntt) + _array(np.ascontiguousarray(residues, "<u8").tobytes()))
        return out

    def residues(self, ciphertext: Seal) -> Words:
        """A Ciphertext's residues, (2, primes, N) uint64."""
        raw = _saved(ciphertext)
        return np.frombuffer(raw, "<u8", offset=_CIPHER + _ARRAY).reshape(2, -1, DEGREE)

    def _cipher_head(self, primes: int, *, ntt: bool) -> bytes:
        size = _CIPHER + _ARRAY + 16 * primes * DEGREE
        return _HEADER + struct.pack("<Q", size) + self._ids[primes] + struct.pack("<BQQQdQ", ntt, 2, DEGREE, primes, 1.0, 1)

    # -- keys -------------------------------------------------------------------------------------------------------------------

    def secret_bytes(self, secret: Seal) -> bytes:
        """A SecretKey, for the party's own journal only."""
        return _saved(secret)

    def secret_key(self, raw: bytes) -> Seal:
        """A SecretKey from this party's own journal."""
        out = self.seal.SecretKey()
        _loaded(out, self.context, raw)
        return out

    def secret_residues(self, raw: bytes) -> Words:
        """The secret s in NTT form, (4, N) uint64, from its bytes."""
        return np.frombuffer(raw, "<u8", offset=_PLAIN + _ARRAY).reshape(len(self.primes), DEGREE)

    def public_residues(self, public: Seal) -> Words:
        """A PublicKey's two polynomials in NTT form, (2, 4, N) uint64."""
        return np.frombuffer(_saved(public), "<u8", offset=_CIPHER + _ARRAY).reshape(2, len(self.primes), DEGREE)

    def public_key(self, residues: Words) -> Seal:
        """A PublicKey from residues, (2, 4, N) uint64 each below its prime."""
        out = self.seal.PublicKey()
        head = self._cipher_head(len(self.primes), ntt=True)
        _loaded(out, self.context, head + _array(np.ascontiguousarray(residues, "<u8").tobytes()))
        return out


@lru_cache(maxsize=1)
def parameters() -> Parameters:
    """The parameters, made once in a process."""
    return Parameters()


def require_residues(sender: str, residues: Words, primes: tuple[int, ...]) -> Words:
    """Residues, (..., len(primes), N), after checking that each lies below its prime. Raises PeerError."""
    if (residues >= np.array(primes, np.uint64)[:, None]).any():
        raise PeerError(sender, "coefficients above their modulus", "residues below the primes of the parameters")
    return residues


def _array(data: bytes) -> bytes:
    return _HEADER + struct.pack("<QQ", _ARRAY + len(data), len(data) // 8) + data


def _saved(thing: Seal) -> bytes:
    descriptor = os.memfd_create("seal")
    try:
        thing.save(f"/proc/self/fd/{descriptor}")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            return file.read()
    finally:
        os.close(descriptor)


def _loaded(thing: Seal, context: Seal, raw: bytes) -> None:
    descriptor = os.memfd_create("seal")
    try:
        os.write(descriptor, raw)
        thing.load(context, f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
