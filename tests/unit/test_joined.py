"""A node and the coordinator that invited it: one, whose key was compared, and no other."""

from __future__ import annotations

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clients.consortium import Consortium, Member, write
from clients.founding import found
from clients.home import Home
from clients.joined import COORDINATOR_FILE, accept, link, node_key, own_joining, read_invited, require_ours, write_joining
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.invitation import LONGEST, invitation
from federation.kernel.joining import read_joining
from federation.kernel.secret import Secret
from server.pki import make_ca
from tests.port_scene import now

COORDINATOR, OTHER = Secret(bytes(range(32))), Secret(bytes(range(1, 33)))
EXCHANGE = suite.agreement_public(Secret(bytes(range(2, 34)))).hex()


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> str:
    return make_ca(tmp_path_factory.mktemp("ca"), now()).read_text()


@pytest.fixture
def home(tmp_path) -> Home:
    found(tmp_path / "node", {"name": "agency", "role": "agency"}, now)
    return Home(tmp_path / "node")


def invited(authority, by=COORDINATOR, address="localhost:9092"):
    return invitation(address, authority, by, EXCHANGE)


def consortium(home, coordinator=COORDINATOR, **member):
    mine = {"name": "agency", "role": "agency", "key": suite.signing_public(home.key("identity")).hex()} | member
    return Consortium(suite.signing_public(coordinator).hex(), (Member(**mine),))


def test_a_node_without_an_invitation_has_no_link(home):
    with pytest.raises(ConfigurationError, match="no coordinator has invited"):
        link(home)


def test_an_accepted_invitation_is_the_link_and_a_newer_one_of_the_same_coordinator_replaces_it(home, authority):
    accept(home, invited(authority))
    accept(home, invited(authority, address="elsewhere.example:9092"))
    assert link(home).address == "elsewhere.example:9092"


def test_another_coordinators_invitation_is_refused_and_nothing_is_changed(home, authority):
    accept(home, invited(authority))
    with pytest.raises(ConfigurationError, match="belongs to another coordinator"):
        accept(home, invited(authority, by=OTHER))
    assert link(home) == invited(authority)


def test_an_invitation_of_another_coordinator_than_the_pinned_one_is_refused(home, authority):
    pinned = consortium(home)
    write(home.root, pinned.coordinator, pinned.members)
    with pytest.raises(ConfigurationError, match="belongs to another coordinator"):
        accept(home, invited(authority, by=OTHER))
    assert not (home.root / COORDINATOR_FILE).exists()
    accept(home, invited(authority))


def test_an_authority_that_only_looks_like_a_certificate_is_refused_before_it_is_kept(home):
    """It is signed: the coordinator's own fault, or ill will. A node must not fail later with an error of OpenSSL's."""
    with pytest.raises(ConfigurationError, match="certificate and is none"):
        accept(home, invited("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
    assert not (home.root / COORDINATOR_FILE).exists()


def test_what_was_kept_is_checked_again(home, authority):
    accept(home, invited(authority))
    path = home.root / COORDINATOR_FILE
    path.chmod(0o600)
    path.write_text(path.read_text().replace("localhost", "evilhost9"))
    with pytest.raises(ConfigurationError, match="signature does not hold"):
        link(home)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_invited(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_invited(tmp_path)
    for content in (b"\xff\xfe", b"x" * (LONGEST + 5)):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ConfigurationError):
            read_invited(tmp_path / "x")


def test_a_nodes_key_is_its_own_and_stays(home):
    key = node_key(home)
    assert isinstance(key.curve, ec.SECP384R1)
    assert node_key(home).private_numbers() == key.private_numbers()
    assert stat.S_IMODE((home.root / "keys" / "node.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"x", ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
)
def test_a_key_that_is_none_is_refused_and_not_replaced(home, content):
    path = home.root / "keys" / "node.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a P-384 private key"):
        node_key(home)
    assert path.read_bytes() == content


def test_the_joining_file_is_what_the_node_is(home):
    made = read_joining(write_joining(home).read_text())
    assert made == own_joining(home) and made.name == "agency"
    assert home.root.joinpath("agency.join.toml").stat().st_mode & 0o444 == 0o444
    assert not any(
        secret in made.text() for secret in ("PRIVATE", home.key("exchange").reveal().hex(), home.key("identity").reveal().hex())
    )


def test_a_consortium_is_ours_where_it_has_this_node_and_the_coordinator_that_invited_it(home, authority):
    accept(home, invited(authority))
    require_ours(home, consortium(home))
    with pytest.raises(ConfigurationError, match="another key than the one that invited"):
        require_ours(home, consortium(home, coordinator=OTHER))
    with pytest.raises(ConfigurationError, match="with this node's key"):
        require_ours(home, consortium(home, key=suite.signing_public(OTHER).hex()))
    with pytest.raises(ConfigurationError, match="does not have agency"):
        require_ours(home, consortium(home, name="other"))
