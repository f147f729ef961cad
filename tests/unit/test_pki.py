"""The server's certificate: what creditfed makes, what it refuses to serve, and that a real client takes the one and not the other."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import stat
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.kernel.errors import ConfigurationError
from server.pki import CA, CA_KEY, SERVER, SERVER_KEY, make_ca, make_server, renew
from server.pki_check import certificates, check, host_name, names_of, private_key

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)  # a real client compares with its own clock
HOSTS = ("localhost", "127.0.0.1", "Server.Example.com", "2001:db8::7")


def text(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def later(**by: int) -> str:
    return text(NOW + dt.timedelta(**by))


@pytest.fixture
def folder(tmp_path):
    make_ca(tmp_path, text(NOW))
    make_server(tmp_path, HOSTS, text(NOW))
    return tmp_path


def checked(folder, hosts=HOSTS, now=None, **files):
    names = {"certificate": SERVER, "key": SERVER_KEY, "ca": CA} | files
    return check(*(folder / name for name in names.values()), hosts, now or text(NOW))


# -- what is made -----------------------------------------------------------------------------------------------------------------------------


def test_the_authority_can_sign_certificates_and_nothing_else(folder):
    (ca,) = certificates(folder / CA)
    said = {type(one.value): (one.critical, one.value) for one in ca.extensions}
    assert said[x509.BasicConstraints] == (True, x509.BasicConstraints(ca=True, path_length=0))
    critical, usage = said[x509.KeyUsage]
    granted = [name for name in ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
               if getattr(usage, name)]  # fmt: skip
    assert critical and usage.key_cert_sign and granted == []
    assert isinstance(ca.public_key().curve, ec.SECP384R1) and (ca.not_valid_after_utc - NOW).days in (3651, 3652)
    ca.verify_directly_issued_by(ca)


def test_the_servers_certificate_is_for_a_server_at_its_hosts_for_397_days(folder):
    (served,) = certificates(folder / SERVER)
    assert [str(name.value) for name in names_of(served)] == ["localhost", "127.0.0.1", "server.example.com", "2001:db8::7"]
    assert list(served.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not served.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert served.not_valid_after_utc - served.not_valid_before_utc == dt.timedelta(397)
    assert served.not_valid_before_utc < NOW
    assert checked(folder).days_left == 396 and checked(folder, now=later(days=300)).days_left == 96


def test_keys_are_their_owners_alone_and_certificates_everybodys(folder):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {CA_KEY: 0o600, SERVER_KEY: 0o600, CA: 0o644, SERVER: 0o644}


def test_a_renewed_certificate_is_for_the_same_key_authority_and_hosts(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    renew(folder, later(days=390))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [name for name in before if before[name] != after[name]] == [SERVER]
    assert checked(folder, now=later(days=500)).days_left == 286
    renew(folder, later(days=390), ["other.example.com"])
    assert checked(folder, ["other.example.com"], later(days=500)).hosts == ("other.example.com",)


def test_no_certificate_outlives_its_authority(folder):
    renew(folder, later(days=3600))
    (served,), (ca,) = certificates(folder / SERVER), certificates(folder / CA)
    assert served.not_valid_after_utc == ca.not_valid_after_utc
    before = (folder / SERVER).read_bytes()
    for at in (later(days=3660), text(NOW - dt.timedelta(days=1))):
        with pytest.raises(ConfigurationError, match="the authority is not valid at this time"):
            renew(folder, at)
    assert (folder / SERVER).read_bytes() == before


def test_nothing_is_made_twice(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for again in (lambda: make_ca(folder, text(NOW)), lambda: make_server(folder, HOSTS, text(NOW))):
        with pytest.raises(ConfigurationError, match="already"):
            again()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_making_that_was_cut_short_goes_on_with_the_key_that_is_there(folder):
    for key, certificate in ((CA_KEY, CA), (SERVER_KEY, SERVER)):
        (folder / certificate).unlink()
        before = (folder / key).read_bytes()
        make_ca(folder, text(NOW)) if certificate == CA else make_server(folder, HOSTS, text(NOW))
        assert (folder / key).read_bytes() == before
    assert checked(folder).days_left == 396


def test_another_authoritys_key_signs_nothing(folder, tmp_path):
    make_ca(tmp_path / "other", text(NOW))
    (folder / CA_KEY).write_bytes((tmp_path / "other" / CA_KEY).read_bytes())
    with pytest.raises(ConfigurationError, match=r"it is not the key of ca\.pem"):
        renew(folder, text(NOW))


@pytest.mark.parametrize("host", [
    "", "*.example.com", "https://example.com", "example.com:9092", "a_b.example.com", "信用.example.com", "-a.example.com", "a..b", "a" * 64, "1.2.3.4.5",
    "256.1.1.1", "a.example.com\n", "192.0.2.0/24", "fe80::1%eth0", "0.0.0.0", "::",
])  # fmt: skip
def test_what_is_no_host_is_refused(folder, host):
    with pytest.raises(ConfigurationError, match="neither a DNS name nor an IP address"):
        renew(folder, text(NOW), [host])
    with pytest.raises(ConfigurationError, match="neither a DNS name nor an IP address"):
        checked(folder, [host])


def test_for_no_host_nothing_is_made_or_checked(folder):
    for nothing in (lambda: renew(folder, text(NOW), []), lambda: checked(folder, [])):
        with pytest.raises(ConfigurationError, match="no host"):
            nothing()


# -- an institution's own: each of these would be refused by nodes, or serve what it must not ---------------------------------------------------


OPEN = serialization.NoEncryption()


class Institution:
    """A PKI as others make it, with one thing wrong at a time."""

    def __init__(self, folder) -> None:
        self.folder, self.root_key, self.key = folder, ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
        self.root = self.sign("root", "root", self.root_key, self.root_key, ca=True)
        folder.mkdir()
        self.write("root.pem", self.root)
        self.write_key("key.pem", self.key)

    def write(self, name, *made):
        (self.folder / name).write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in made))

    def write_key(self, name, key, algorithm=OPEN, mode=0o600):
        (self.folder / name).write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, algorithm))
        (self.folder / name).chmod(mode)

    def sign(self, issuer, subject, issuer_key, key, *, ca=False, hosts=("fed.bank.example",), days=(0, 90), server=True):
        name = {which: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, which)]) for which in (issuer, subject)}
        start, end = (NOW + dt.timedelta(day) for day in days)
        uses = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False)
        usage = x509.KeyUsage(digital_signature=not ca, key_encipherment=not ca, key_cert_sign=ca, crl_sign=ca, **uses)
        made = x509.CertificateBuilder(name[issuer], name[subject], key.public_key(), x509.random_serial_number(), start, end)
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True).add_extension(usage, critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        if server:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        if hosts and not (ca and issuer == subject):
            made = made.add_extension(
                x509.SubjectAlternativeName([host_name(host) if "*" not in host else x509.DNSName(host) for host in hosts]), critical=False
            )
        return made.sign(issuer_key, hashes.SHA256())

    def leaf(self, **how):
        return self.sign("root", "fed.bank.example", self.root_key, self.key, **how)

    def check(self, *chain, key="key.pem", ca="root.pem", hosts=("fed.bank.example",)):
        self.write("cert.pem", *chain)
        return check(self.folder / "cert.pem", self.folder / key, self.folder / ca, hosts, text(NOW))


@pytest.fixture
def pki(tmp_path):
    return Institution(tmp_path / "pki")


def test_an_institutions_own_will_do_also_with_an_authority_between(pki):
    assert pki.check(pki.leaf()).days_left == 90
    assert pki.check(pki.leaf(hosts=("*.bank.example",))).hosts == ("*.bank.example",)
    middle = ec.generate_private_key(ec.SECP256R1())
    issuing = pki.sign("root", "issuing", pki.root_key, middle, ca=True, hosts=())
    leaf = pki.sign("issuing", "fed.bank.example", middle, pki.key)
    assert pki.check(leaf, issuing).days_left == 90
    with pytest.raises(ConfigurationError, match="does not lead to the authority"):
        pki.check(leaf)
    pki.write("bundle.pem", pki.sign("old", "old", pki.root_key, pki.root_key, ca=True, days=(-9, -1)), pki.root)
    assert pki.check(pki.leaf(), ca="bundle.pem").days_left == 90


def test_another_key_is_refused(pki):
    pki.write_key("other.pem", rsa.generate_private_key(65537, 2048))
    with pytest.raises(ConfigurationError, match=r"not for the key in other\.pem"):
        pki.check(pki.leaf(), key="other.pem")


@pytest.mark.parametrize(("days", "says"), [((-90, -1), "it expired on"), ((1, 90), "it is not valid before")])
def test_a_certificate_of_another_time_is_refused(pki, days, says):
    with pytest.raises(ConfigurationError, match=says):
        pki.check(pki.leaf(days=days))


def test_an_expired_authority_is_refused(pki):
    pki.write("old.pem", pki.sign("root", "root", pki.root_key, pki.root_key, ca=True, days=(-9, -1)))
    with pytest.raises(ConfigurationError, match=r"old\.pem: it expired on"):
        pki.check(pki.leaf(), ca="old.pem")


def test_another_authority_is_refused_also_one_of_the_same_name(pki):
    for name in ("root", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        pki.write("other.pem", pki.sign(name, name, key, key, ca=True))
        with pytest.raises(ConfigurationError, match="does not lead to the authority"):
            pki.check(pki.leaf(), ca="other.pem")


def test_a_missing_host_is_refused_and_named(pki):
    for missing in ("fed2.bank.example", "10.0.0.7"):
        with pytest.raises(ConfigurationError, match=f"it is not for {missing}"):
            pki.check(pki.leaf(), hosts=("fed.bank.example", missing))
    with pytest.raises(ConfigurationError, match=r"it is not for fed\.bank\.example"):
        pki.check(pki.leaf(hosts=()))
    for host in ("bank.example", "a.fed.bank.example"):  # a pattern stands for one label
        with pytest.raises(ConfigurationError, match="it is not for"):
            pki.check(pki.leaf(hosts=("*.bank.example",)), hosts=(host,))


def test_an_authoritys_certificate_is_not_served(pki, folder):
    with pytest.raises(ConfigurationError, match="an authority's and no server's"):
        checked(folder, certificate=CA, key=CA_KEY)
    with pytest.raises(ConfigurationError, match="an authority's and no server's"):
        pki.check(pki.leaf(ca=True))


def test_a_certificate_of_no_server_is_refused(pki):
    with pytest.raises(ConfigurationError, match="does not say that it is for a server"):
        pki.check(pki.leaf(server=False))


def test_keys_that_cannot_be_served_are_told_plainly_and_never_quoted(pki):
    leaf, secret = pki.leaf(), (pki.folder / "key.pem").read_text().splitlines()[1]
    pki.write_key("locked.pem", pki.key, serialization.BestAvailableEncryption(b"word"))
    pki.write_key("open.pem", pki.key, mode=0o644)
    (pki.folder / "torn.pem").write_text((pki.folder / "key.pem").read_text()[:200])
    (pki.folder / "torn.pem").chmod(0o600)
    for name, says in (
        ("locked", "under a password"),
        ("open", "everybody"),
        ("torn", "no private key in PEM"),
        ("none", "No such file"),
        ("root", "everybody"),
    ):
        with pytest.raises(ConfigurationError, match=says) as raised:
            pki.check(leaf, key=f"{name}.pem")
        assert secret not in str(raised.value)
    with pytest.raises(ConfigurationError, match="no certificate in PEM"):
        certificates(pki.folder / "key.pem")


# -- real clients --------------------------------------------------------------------------------------------------------------------------------


class Silent(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def served(certificate, key):
    """A port on which the certificate is served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Quiet(HTTPServer):
        def handle_error(self, request, client_address):
            pass  # a client that refuses goes away in the middle

        def get_request(self):
            connection, address = self.socket.accept()
            connection.settimeout(10)
            return context.wrap_socket(connection, server_side=True), address

    server = Quiet(("127.0.0.1", 0), Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def strict(ca):
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of newer Pythons
    return context


def answer(port, ca, host="localhost"):
    with httpx.Client(verify=strict(ca), trust_env=False, timeout=10) as client:
        return client.get(f"https://{host}:{port}/").status_code


def test_a_real_client_takes_what_is_made_and_what_is_renewed(folder):
    for _ in range(2):
        with served(folder / SERVER, folder / SERVER_KEY) as port:
            assert [answer(port, folder / CA, host) for host in ("localhost", "127.0.0.1")] == [204, 204]
        renew(folder, text(NOW))


def test_a_real_client_refuses_another_authority_host_and_time(folder, tmp_path):
    make_ca(tmp_path / "other", text(NOW))
    with served(folder / SERVER, folder / SERVER_KEY) as port, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        answer(port, tmp_path / "other" / CA)
    for how, says in (({"hosts": ["fed.example"]}, "Hostname mismatch"), ({"now": text(NOW - dt.timedelta(days=400))}, "expired")):
        if "now" in how:  # an authority of then
            for name in (CA, SERVER):
                (folder / name).unlink()
            make_ca(folder, how["now"])
            make_server(folder, HOSTS, how["now"])
        else:
            renew(folder, text(NOW), how["hosts"])
        with served(folder / SERVER, folder / SERVER_KEY) as port, pytest.raises(httpx.ConnectError, match=says):
            answer(port, folder / CA)
        with pytest.raises(ConfigurationError):  # and so does the check, before it is served
            checked(folder)


def test_a_real_client_refuses_a_certificate_that_the_servers_own_key_made(folder):
    """What a thief of server.key could do beyond the server itself: nothing."""
    stolen = private_key(folder / SERVER_KEY)
    (issuer,) = certificates(folder / SERVER)
    key = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder(issuer.subject, issuer.subject, key.public_key(), 7, NOW - dt.timedelta(1), NOW + dt.timedelta(9))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(stolen, hashes.SHA256())
    )
    (folder / "forged.pem").write_bytes(forged.public_bytes(serialization.Encoding.PEM) + (folder / SERVER).read_bytes())
    (folder / "forged.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, OPEN))
    (folder / "forged.key").chmod(0o600)
    with served(folder / "forged.pem", folder / "forged.key") as port, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        answer(port, folder / CA, "127.0.0.1")
    with pytest.raises(ConfigurationError, match="does not lead to the authority"):
        checked(folder, ["127.0.0.1"], certificate="forged.pem", key="forged.key")
