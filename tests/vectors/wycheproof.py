"""Runs vectors in the Wycheproof schema through the wrappers of `federation.kernel.suite`, and counts every one.

A vector's outcome is `accepted` (each wrapper gave just what the vector says), `refused` (in the wrapper's own way: None, False, LocalError for
a key, nonce, counter or length that has no place, ValueError for a peer's public key) or `wrong` (anything else, errors of the library that
leak through among them). A valid vector must be accepted, an invalid one refused, an acceptable one either but never wrong. Beyond
Wycheproof, a shared secret of zeros must be refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.errors import LocalError
from federation.kernel.secret import Secret
from tests.vectors import reference

FOLDER = Path(__file__).with_name("wycheproof")
FILES = tuple(sorted(path.name for path in FOLDER.glob("*.json")))
INVALID_FLAGS = {"ZeroSharedSecret"}
"""Flags of acceptable vectors that the wrappers promise to refuse."""
REFUSED_BY_VALUE = {"XdhComp", "HkdfTest"}
"""Groups whose wrapper says no with a ValueError: a peer's public key, and the reference of HKDF."""
HEXADECIMAL = {
    "private", "public", "shared", "pk", "sk", "sig", "msg", "key", "iv", "aad", "ct", "tag", "ikm", "salt", "info", "okm", "stream",
}  # fmt: skip

Outcome = Literal["accepted", "refused", "wrong"]


def hkdf(key: Secret, salt: bytes, info: bytes, size: int) -> bytes:
    return reference.hkdf(key.reveal(), salt, info, size)


@dataclasses.dataclass(frozen=True)
class Wrappers:
    """What is under test; a control replaces one by a weakened copy. hkdf is the reference that the vectors of `derive` are written with."""

    agreement_public: Callable[[Secret], bytes] = suite.agreement_public
    agree: Callable[[Secret, bytes], Secret] = suite.agree
    signing_public: Callable[[Secret], bytes] = suite.signing_public
    sign: Callable[[Secret, bytes], bytes] = suite.sign
    verifies: Callable[[bytes, bytes, bytes], bool] = suite.verifies
    seal: Callable[[Secret, int, bytes, bytes], bytes] = suite.seal
    unseal: Callable[[Secret, int, bytes, bytes], bytes | None] = suite.unseal
    derive: Callable[..., Secret] = suite.derive
    keystream: Callable[[Secret, int, int], NDArray[np.uint64]] = suite.keystream
    hkdf: Callable[[Secret, bytes, bytes, int], bytes] = hkdf


@dataclasses.dataclass(frozen=True)
class Report:
    """stated: the file's numberOfTests; run: how many vectors went through the wrappers; outcomes: by the file's result and the outcome;
    failures: (tcId, flags, outcome) of each vector that did not come out as it must.
    """

    file: str
    stated: int
    run: int
    outcomes: dict[tuple[str, Outcome], int]
    failures: tuple[tuple[int, tuple[str, ...], Outcome], ...]

    def failed(self, flag: str) -> int:
        """How many vectors with a flag failed."""
        return sum(flag in flags for _, flags, _ in self.failures)


def _is(same: bool) -> Outcome:
    return "accepted" if same else "wrong"


def _agreement(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    return _is(wrappers.agree(Secret(test["private"]), test["public"]).reveal() == test["shared"])


def _agreement_public(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    return _is(wrappers.agreement_public(Secret(test["private"])) == test["public"])


def _verification(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    return "accepted" if wrappers.verifies(test["pk"], test["msg"], test["sig"]) else "refused"


def _signing(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    private, message = Secret(test["sk"]), test["msg"]
    return _is((wrappers.signing_public(private), wrappers.sign(private, message)) == (test["pk"], test["sig"]))


def _sealing(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    key, nonce, header = Secret(test["key"]), int.from_bytes(test["iv"], "little"), test["aad"]
    message, sealed = test["msg"], test["ct"] + test["tag"]
    opened = wrappers.unseal(key, nonce, header, sealed)
    return "refused" if opened is None else _is(opened == message and wrappers.seal(key, nonce, header, message) == sealed)


def _hkdf(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    return _is(wrappers.hkdf(Secret(test["ikm"]), test["salt"], test["info"], test["size"]) == test["okm"])


def _derivation(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    context = [bytes.fromhex(part["bytes"]) if "bytes" in part else part.get("text", part.get("number")) for part in test["context"]]
    return _is(wrappers.derive(Secret(test["key"]), *context, length=test["size"]).reveal() == test["okm"])


def _keystream(wrappers: Wrappers, test: dict[str, Any]) -> Outcome:
    """From word `skip` of the counter block on, the last words of `words`."""
    stream = wrappers.keystream(Secret(test["key"]), test["words"], 2 * int(test["counter"], 16) + test["skip"])
    return _is(len(stream) == test["words"] and stream.tobytes().endswith(test["stream"]))


RUNNERS: dict[str, Callable[[Wrappers, dict[str, Any]], Outcome]] = {
    "XdhComp": _agreement, "XdhPublic": _agreement_public, "EddsaVerify": _verification, "EddsaSign": _signing, "AeadTest": _sealing,
    "HkdfTest": _hkdf, "DeriveTest": _derivation, "KeystreamTest": _keystream,
}  # fmt: skip


def _decoded(test: dict[str, Any]) -> dict[str, Any]:
    """Hexadecimal fields as bytes, outside of what may refuse: a vector that cannot be read is an error of the file."""
    return {k: bytes.fromhex(v) if k in HEXADECIMAL else v for k, v in test.items()}


def holds(result: str, flags: tuple[str, ...], outcome: Outcome) -> bool:
    """Whether an outcome is what the vector asks for."""
    if result == "acceptable":
        return outcome == "refused" or (outcome == "accepted" and not INVALID_FLAGS & set(flags))
    return outcome == {"valid": "accepted", "invalid": "refused"}[result]


def run(name: str, wrappers: Wrappers | None = None, folder: Path = FOLDER) -> Report:
    """Every vector of a file through the wrappers."""
    document, wrappers = json.loads((folder / name).read_text()), wrappers or Wrappers()
    outcomes: Counter[tuple[str, Outcome]] = Counter()
    failures = []
    for group in document["testGroups"]:
        shared = {"pk": group["publicKey"]["pk"]} if "publicKey" in group else {}
        for test in group["tests"]:
            outcome: Outcome
            runner, inputs = RUNNERS[group["type"]], _decoded(shared | test)
            try:
                outcome = runner(wrappers, inputs)
            except LocalError:
                outcome = "refused"
            except (ValueError, OverflowError) as error:
                outcome = "refused" if group["type"] in REFUSED_BY_VALUE and isinstance(error, ValueError) else "wrong"
            outcomes[test["result"], outcome] += 1
            flags = tuple(test["flags"])
            if not holds(test["result"], flags, outcome):
                failures.append((test["tcId"], flags, outcome))
    return Report(name, document["numberOfTests"], outcomes.total(), dict(outcomes), tuple(failures))


if __name__ == "__main__":
    for report in map(run, FILES):
        outcomes = ", ".join(f"{result} {outcome} {count}" for (result, outcome), count in sorted(report.outcomes.items()))
        print(f"{report.file}: {report.run} run of {report.stated}, {len(report.failures)} failed ({outcomes})")
