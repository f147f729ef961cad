"""The only place where numpy and Microsoft SEAL meet: polynomials in and out of SEAL as arrays of residues.

No header ever travels. A peer's numbers are residues that `residues.read` has checked, and the header that SEAL wants before them
(parameters, level, form) is written here, so that native code never parses a peer's bytes. The layout
(native/src/seal/{serialization,plaintext,ciphertext,dynarray}.cpp of SEAL 4.4) is SEAL's own business: `scheme` compares it, at first use,
with what the installed library writes, and refuses another one. Little-endian throughout:
    frame       a15e, header size 10, version 4.4, no compression, 2 reserved; u64 total size
    array       frame, u64 words, words
    Plaintext   frame, level (32), u64 coefficients, f64 scale, array
    Ciphertext  frame, level (32), u8 transformed, u64 polynomials, u64 N, u64 primes, f64 scale, u64 correction, array
A SecretKey is a Plaintext, a PublicKey a Ciphertext, both of the key level.

Ciphertexts and keys leave the binding through a file name alone: they are saved to a file in memory (memfd_create), which no disk holds.
"""

from __future__ import annotations

import functools
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from federation.encrypted_linear.parameters import DATA_PRIMES, DEGREE, KEY_PRIMES, PLAIN_MODULUS, PRIME_BITS
from federation.encrypted_linear.residues import Words
from federation.kernel.errors import LocalError

Plaintext: TypeAlias = Any
Ciphertext: TypeAlias = Any
PublicKey: TypeAlias = Any
SecretKey: TypeAlias = Any
Encryptor: TypeAlias = Any

_FRAME = bytes.fromhex("5ea1100404000000")
_WHERE, _REMEDY = "encrypted_linear", "Install seal-python>=4.4,<5 (wheels: CPython 3.10 to 3.14, x86-64 Linux with glibc 2.28 or later)."


def _framed(fields: bytes, words: int) -> bytes:
    """Everything before the words of an object."""
    array = _FRAME + struct.pack("<QQ", 24 + 8 * words, words)
    return _FRAME + struct.pack("<Q", 16 + len(fields) + len(array) + 8 * words) + fields + array


def plain_header(level: Sequence[int], words: int) -> bytes:
    """What SEAL writes before the words of a plaintext or secret key."""
    return _framed(struct.pack("<4QQd", *level, words, 1.0), words)


def cipher_header(level: Sequence[int], primes: int, *, transformed: bool) -> bytes:
    """What SEAL writes before the words of a ciphertext of two polynomials, or of a public key."""
    return _framed(struct.pack("<4QBQQQdQ", *level, transformed, 2, DEGREE, primes, 1.0, 1), 2 * primes * DEGREE)


@contextmanager
def _memory_file() -> Iterator[tuple[int, str]]:
    """A file that lives in memory and is gone at the end: its descriptor and its name."""
    descriptor = os.memfd_create("seal", os.MFD_CLOEXEC)
    try:
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def saved(thing: Any) -> bytes:
    """The bytes that SEAL writes for a ciphertext or key."""
    with _memory_file() as (descriptor, name):
        thing.save(name)
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@dataclass(frozen=True)
class Scheme:
    """SEAL's context for our parameters, and everything that passes between it and numpy.

    Levels, from the top: key (four primes), data (three), answer (two). "Transformed" is SEAL's NTT form. All arrays are uint64 residues.
    """

    seal: Any
    context: Any
    evaluator: Any
    key_level: tuple[int, ...]
    data_level: tuple[int, ...]
    answer_level: tuple[int, ...]

    def plaintext(self, coefficients: Words) -> Plaintext:
        """(N,) coefficients below t."""
        out = self.seal.Plaintext()
        out.load_bytes(self.context, plain_header((0, 0, 0, 0), len(coefficients)) + _bytes(coefficients))
        return out

    def transformed(self, coefficients: Words) -> Plaintext:
        """(N,) coefficients below t, those from t/2 on standing for negative numbers, ready to multiply ciphertexts of the data level."""
        out = self.plaintext(coefficients)
        self.evaluator.transform_to_ntt_inplace(out, self.data_level)
        return out

    def key_transform(self, coefficients: Words) -> Words:
        """(N,) coefficients below t to their transformed residues at the key level, (4, N)."""
        plain = self.plaintext(coefficients)
        self.evaluator.transform_to_ntt_inplace(plain, self.key_level)
        return _words(plain.to_bytes(), (len(KEY_PRIMES), DEGREE))

    def ciphertext(self, residues: Words) -> Ciphertext:
        """Transformed residues (2, 3, N), each below its prime, as a ciphertext of the data level."""
        out = self.seal.Ciphertext()
        out.load_bytes(self.context, cipher_header(self.data_level, len(DATA_PRIMES), transformed=True) + _bytes(residues))
        return out

    def residues(self, ciphertext: Ciphertext) -> Words:
        """A ciphertext's residues, (2, primes, N), in whatever form it is."""
        return _words(saved(ciphertext), (2, ciphertext.coeff_modulus_size(), DEGREE))

    def public_key(self, residues: Words) -> PublicKey:
        """Transformed residues (2, 4, N), each below its prime."""
        return self._loaded(self.seal.PublicKey(), cipher_header(self.key_level, len(KEY_PRIMES), transformed=True) + _bytes(residues))

    def public_residues(self, key: PublicKey) -> Words:
        """A public key's transformed residues, (2, 4, N)."""
        return _words(saved(key), (2, len(KEY_PRIMES), DEGREE))

    def secret_key(self, residues: Words) -> SecretKey:
        """Transformed residues (4, N)."""
        return self._loaded(self.seal.SecretKey(), plain_header(self.key_level, len(KEY_PRIMES) * DEGREE) + _bytes(residues))

    def fresh_secret(self) -> bytes:
        """A secret key drawn by SEAL, as its N ternary coefficients, one signed byte each."""
        transformed = _words(saved(self.seal.KeyGenerator(self.context).secret_key()), (len(KEY_PRIMES), DEGREE))[: len(DATA_PRIMES)]
        carrier = self.ciphertext(np.stack([transformed, np.ones_like(transformed)]))
        self.evaluator.transform_from_ntt_inplace(carrier)
        coefficients = self.residues(carrier)[0, 0]
        return np.where(coefficients == DATA_PRIMES[0] - 1, -1, coefficients.view(np.int64)).astype(np.int8).tobytes()

    def _loaded(self, empty: Any, data: bytes) -> Any:
        with _memory_file() as (descriptor, name):
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            empty.load(self.context, name)
        return empty


def _bytes(words: Words) -> bytes:
    return words.astype("<u8", copy=False).tobytes()


def _words(data: bytes, shape: tuple[int, ...]) -> Words:
    """The words that end an object's bytes, read-only."""
    return np.frombuffer(data, "<u8", offset=len(data) - 8 * math.prod(shape)).reshape(shape)


@functools.cache
def scheme() -> Scheme:
    """The scheme, made at first use. Raises LocalError where SEAL is missing or is not the one that this adapter knows."""
    try:
        import seal  # native, and not for every platform: only those who use it need it
    except ImportError:
        raise LocalError(_WHERE, "the library seal-python is not installed", _REMEDY) from None
    if not hasattr(os, "memfd_create"):
        raise LocalError(_WHERE, "this operating system has no files in memory (memfd_create)", "Run the node on Linux.")
    settings = seal.EncryptionParameters(seal.scheme_type.bfv)
    settings.set_poly_modulus_degree(DEGREE)
    settings.set_coeff_modulus(seal.CoeffModulus.Create(DEGREE, list(PRIME_BITS)))
    settings.set_plain_modulus(PLAIN_MODULUS)
    context = seal.SEALContext(settings, True, seal.sec_level_type.tc128)  # noqa: FBT003  # the binding takes no keywords
    if not context.parameters_set() or tuple(modulus.value() for modulus in settings.coeff_modulus()) != KEY_PRIMES:
        raise LocalError(_WHERE, "the installed SEAL chooses other parameters than this program knows", _REMEDY)
    data = context.first_context_data()
    levels = (context.key_context_data().parms_id(), data.parms_id(), data.next_context_data().parms_id())
    made = Scheme(seal, context, seal.Evaluator(context), *(tuple(level) for level in levels))
    if not layout_is_known(made):
        raise LocalError(_WHERE, "the installed SEAL writes another byte layout than 4.4", _REMEDY)
    return made


def layout_is_known(made: Scheme) -> bool:
    """Whether SEAL writes each kind of object with the very bytes that this file would put before its words."""
    generator = made.seal.KeyGenerator(made.context)
    secret = generator.secret_key()
    one = made.plaintext(np.eye(1, DEGREE, dtype=np.uint64)[0])
    pairs = [
        (one.to_bytes(), plain_header((0, 0, 0, 0), DEGREE), 1),
        (saved(secret), plain_header(made.key_level, 4 * DEGREE), 4),
        (saved(generator.create_public_key()), cipher_header(made.key_level, 4, transformed=True), 8),
    ]
    fresh = made.seal.Encryptor(made.context, secret).encrypt_symmetric(one)
    pairs.append((saved(fresh), cipher_header(made.data_level, 3, transformed=False), 6))
    made.evaluator.transform_to_ntt_inplace(fresh)
    pairs.append((saved(fresh), cipher_header(made.data_level, 3, transformed=True), 6))
    made.evaluator.transform_from_ntt_inplace(fresh)
    made.evaluator.mod_switch_to_next_inplace(fresh)
    pairs.append((saved(fresh), cipher_header(made.answer_level, 2, transformed=False), 4))
    return all(data.startswith(header) and len(data) == len(header) + 8 * DEGREE * size for data, header, size in pairs)
