"""An invitation as it was signed, and no other."""

from __future__ import annotations

import pytest

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.invitation import LONGEST, Invitation, invitation, read_invitation
from federation.kernel.secret import Secret

IDENTITY, OTHER = Secret(bytes(range(32))), Secret(bytes(range(1, 33)))
EXCHANGE = suite.agreement_public(Secret(bytes(range(2, 34)))).hex()
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
MADE = invitation("server.example:9092", PEM, IDENTITY, EXCHANGE)


def written(**fields: str) -> str:
    return Invitation(**{name: fields.get(name, getattr(MADE, name)) for name in Invitation.__struct_fields__}).text()


def test_control_what_was_written_is_read():
    assert read_invitation(MADE.text()) == MADE
    assert read_invitation(MADE.text().replace("\n", "\r\n")) == MADE, "by way of a mail program"


@pytest.mark.parametrize(("field", "value"), [
    ("address", "server.example:9093"), ("address", "serwer.example:9092"), ("authority", PEM.replace("MIIB", "MIIC")), ("authority", PEM + PEM),
    ("key", suite.signing_public(OTHER).hex()), ("exchange_key", suite.agreement_public(OTHER).hex()),
    ("signature", MADE.signature[:-1] + ("0" if MADE.signature[-1] != "0" else "1")), ("signature", "0" * 128),
])  # fmt: skip
def test_a_change_in_any_field_is_seen(field, value):
    assert getattr(MADE, field) != value
    with pytest.raises(ConfigurationError, match="signature does not hold"):
        read_invitation(written(**{field: value}))


def test_who_signs_anew_is_another_coordinator():
    """What is left to compare by telephone is the key."""
    forged = invitation("elsewhere.example:9092", MADE.authority, OTHER, EXCHANGE)
    assert read_invitation(forged.text()).key != MADE.key
    with pytest.raises(ConfigurationError, match="signature does not hold"):
        read_invitation(Invitation(forged.address, forged.authority, MADE.key, forged.exchange_key, forged.signature).text())


def test_a_signature_from_another_domain_does_not_hold():
    for domain in ("join", "vote", "manifest"):
        signature = suite.sign(IDENTITY, suite.frame(domain, suite.NAME, MADE.address, MADE.authority, MADE.key, MADE.exchange_key)).hex()
        with pytest.raises(ConfigurationError, match="signature does not hold"):
            read_invitation(written(signature=signature))


@pytest.mark.parametrize("text", [
    "", "x", "[", "a = 1", MADE.text() + 'more = "x"\n', MADE.text() + "[more]\n", MADE.text().replace("key", "kye", 1), "a = " + "[" * 5000,
    MADE.text().replace(f'"{MADE.key}"', "7"), MADE.text().replace(f'key = "{MADE.key}"\n', ""), MADE.text() + MADE.text(), " " * (LONGEST + 1), "\0",
])  # fmt: skip
def test_other_text_is_none_and_is_not_quoted(text):
    with pytest.raises(ConfigurationError) as told:
        read_invitation(text)
    assert "is not an invitation" in str(told.value) and MADE.key not in str(told.value)


@pytest.mark.parametrize("address", [
    "", "server", "server:", ":9092", "server:0", "server:65536", "server:99999", "server:09092", "user@server:9092", "https://server:9092", "server:9092/x",
    "server:9092\n", "ser ver:9092", "2001:db8::7:9092", "[server]:9092", "[::1:9092", "server]:9092", "s\u00e9rver:9092", "a" * 300 + ":9092", "server:\u0661",
])  # fmt: skip
def test_an_address_that_is_none_is_neither_made_nor_read(address):
    with pytest.raises(ConfigurationError):
        invitation(address, PEM, IDENTITY, EXCHANGE)
    with pytest.raises(ConfigurationError):
        read_invitation(written(address=address))


@pytest.mark.parametrize("address", ["localhost:1", "10.0.0.7:65535", "[2001:db8::7]:9092", "a-b.example.com:443"])
def test_control_an_address_that_is_one_is_made(address):
    assert read_invitation(invitation(address, PEM, IDENTITY, EXCHANGE).text()).address == address


@pytest.mark.parametrize(
    "authority", ["", "x", PEM.replace("CERTIFICATE", "PRIVATE KEY"), PEM[:-1], PEM + "x", "'''" + PEM, PEM.replace("MIIB", "'''")]
)
def test_an_authority_that_is_none_is_neither_made_nor_read(authority):
    with pytest.raises(ConfigurationError):
        invitation(MADE.address, authority, IDENTITY, EXCHANGE)
    with pytest.raises(ConfigurationError):
        read_invitation(written(authority=authority))


@pytest.mark.parametrize("key", ["", "00" * 32, "01" + "00" * 31, "G" * 64, EXCHANGE.upper(), "0" * 63])
def test_keys_that_are_none_are_not_read(key):
    for field in ("key", "exchange_key"):
        with pytest.raises(ConfigurationError):
            read_invitation(written(**{field: key}))
