"""A joining binds every key to the identity key: nothing of it can be changed, added or signed by another."""

from __future__ import annotations

import msgspec
import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.joining import LONGEST, Joining, joining, node_key_pem, read_joining
from federation.kernel.secret import Secret
from server.join import read_join_file

IDENTITY, OTHER = Secret(bytes(range(32))), Secret(bytes(range(1, 33)))
EXCHANGE = suite.agreement_public(Secret(bytes(range(2, 34)))).hex()


def ssh(private, comment: str = "") -> str:
    text = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{text} {comment}" if comment else text


NODE = ec.generate_private_key(ec.SECP384R1())
MADE = joining("platform-a", "platform", IDENTITY, ssh(NODE, "root@node"), EXCHANGE)
FIELDS = Joining.__struct_fields__


def written(**changes: object) -> str:
    return tomli_w.dumps(msgspec.structs.asdict(MADE) | changes)


def test_what_is_written_is_read():
    assert read_joining(MADE.text()) == MADE
    assert MADE.node_key == ssh(NODE)  # without the comment, which names a person and a machine
    assert read_joining("# by post\n\n" + written()) == MADE


def test_the_node_key_is_the_bytes_that_flowers_server_knows():
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    assert node_key_pem(MADE.node_key) == public_key_to_bytes(NODE.public_key())
    assert load_pem_public_key(node_key_pem(MADE.node_key)) == NODE.public_key()


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_with_one_bit_changed_is_refused(field):
    value, refused = getattr(MADE, field), 0
    for place in range(len(value)):
        for bit in range(7):
            changed = value[:place] + chr(ord(value[place]) ^ 1 << bit) + value[place + 1 :]
            with pytest.raises(ConfigurationError):
                read_joining(written(**{field: changed}))
            refused += 1
    assert refused == 7 * len(value)


def test_control_without_the_signature_fields_with_a_bit_changed_pass(monkeypatch):
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    assert read_joining(written(name="platform-b")).name == "platform-b"
    assert read_joining(written(role="bank")).role == "bank"
    assert read_joining(written(node_key=ssh(ec.generate_private_key(ec.SECP384R1())))).node_key != MADE.node_key


def test_another_identitys_signature_is_refused():
    theirs = joining("platform-a", "platform", OTHER, MADE.node_key, EXCHANGE)
    assert theirs.key != MADE.key and read_joining(theirs.text()) == theirs
    for changes in ({"signature": theirs.signature}, {"key": theirs.key}):
        with pytest.raises(ConfigurationError, match="signature does not hold"):
            read_joining(written(**changes))


def test_a_signature_of_the_same_parts_in_another_domain_is_refused():
    parts = (suite.NAME, MADE.name, MADE.role, MADE.key, MADE.node_key, MADE.exchange_key)
    for statement in (suite.frame(*parts), suite.frame("approve", *parts), suite.frame("vote", *parts), "".join(parts).encode()):
        with pytest.raises(ConfigurationError, match="signature does not hold"):
            read_joining(written(signature=suite.sign(IDENTITY, statement).hex()))
    assert read_joining(written(signature=suite.sign(IDENTITY, suite.frame("join", *parts)).hex())) == MADE  # the control


def test_unknown_and_missing_keys_and_other_types_are_refused():
    for text in (written(way="files"), written(name=7), written(name=["platform-a"]), *(
        tomli_w.dumps({name: value for name, value in msgspec.structs.asdict(MADE).items() if name != left}) for left in FIELDS
    )):  # fmt: skip
        with pytest.raises(ConfigurationError, match="it is not a joining file"):
            read_joining(text)


KEYS = {
    "P-256": ssh(ec.generate_private_key(ec.SECP256R1())),
    "P-521": ssh(ec.generate_private_key(ec.SECP521R1())),
    "Ed25519": ssh(ed25519.Ed25519PrivateKey.generate()),
    "P-256 under P-384's name": ssh(ec.generate_private_key(ec.SECP256R1())).replace("nistp256", "nistp384", 1),
    "with a comment": f"{ssh(NODE)} root@node",
    "two keys": f"{ssh(NODE)}\n{ssh(NODE)}",
    "PEM": node_key_pem(ssh(NODE)).decode(),
    "a line end": ssh(NODE) + "\n",
    "options": f"no-pty {ssh(NODE)}",
    "empty": "",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_node_key_that_is_no_p384_key_is_refused_though_it_is_signed(key):
    statement = suite.frame("join", suite.NAME, MADE.name, MADE.role, MADE.key, key, MADE.exchange_key)
    with pytest.raises(ConfigurationError, match="node_key"):
        read_joining(written(node_key=key, signature=suite.sign(IDENTITY, statement).hex()))


P = (1 << 255) - 19
ODD = {
    "zero": 0, "one": 1, "minus one": P - 1, "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "zero again": P, "another name of nine": P + 9, "with the high bit": int.from_bytes(bytes.fromhex(EXCHANGE), "little") | 1 << 255,
}  # fmt: skip


@pytest.mark.parametrize("number", ODD.values(), ids=ODD)
def test_an_exchange_key_of_small_order_or_with_two_names_is_refused_though_it_is_signed(number):
    key = number.to_bytes(32, "little").hex()
    statement = suite.frame("join", suite.NAME, MADE.name, MADE.role, MADE.key, MADE.node_key, key)
    with pytest.raises(ConfigurationError, match="exchange_key"):
        read_joining(written(exchange_key=key, signature=suite.sign(IDENTITY, statement).hex()))


def test_an_identity_key_of_small_order_is_refused():
    """Under such a key one signature holds for many messages."""
    with pytest.raises(ConfigurationError, match="its key is not an Ed25519 public key"):
        read_joining(written(key="01" + "00" * 31))


@pytest.mark.parametrize("name", ["coordinator", "Bank", "../bank", "bank a", ""])
def test_a_name_that_is_none_is_neither_made_nor_read(name):
    with pytest.raises(ConfigurationError):
        joining(name, "bank", IDENTITY, MADE.node_key, EXCHANGE)
    with pytest.raises(ConfigurationError):
        read_joining(written(name=name))


@given(st.one_of(st.text(), st.text(alphabet='[]{}=".\n#abkey0', max_size=200)))
def test_no_text_is_read_or_quoted(text):
    with pytest.raises(ConfigurationError) as raised:
        read_joining(text, "FILE")
    assert str(raised.value).startswith("FILE: it is not a joining file")


def test_what_nests_deep_or_is_long_is_refused():
    for text in ("x = " + "[" * (LONGEST - 4), written() + "#" * LONGEST, "x = " + "9" * (LONGEST - 4)):
        with pytest.raises(ConfigurationError, match="it is not a joining file"):
            read_joining(text)


def test_a_file_that_is_missing_or_no_text_is_told_plainly(tmp_path):
    path = tmp_path / "platform-a.join.toml"
    with pytest.raises(ConfigurationError, match="No such file"):
        read_join_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_join_file(path)
    path.write_text(MADE.text())
    assert read_join_file(path) == MADE
