"""The coordinator's folder: what it invites to can be read again, whatever its host."""

from __future__ import annotations

import pytest

from federation.kernel.errors import ConfigurationError
from federation.kernel.invitation import read_invitation
from server.pki import make_ca
from server.place import Place, Settings
from tests.port_scene import now


@pytest.mark.parametrize(
    ("host", "address"), [("localhost", "localhost:9092"), ("10.0.0.7", "10.0.0.7:9092"), ("2001:db8::7", "[2001:db8::7]:9092")]
)
def test_an_invitation_names_the_first_host(tmp_path, host, address):
    (tmp_path / "tls").mkdir()
    make_ca(tmp_path / "tls", now())
    place = Place(tmp_path)
    assert place.found(Settings(hosts=(host, "127.0.0.1"))).address == address
    assert read_invitation((tmp_path / "invitation.toml").read_text()).key == place.invite(place.settings).key


@pytest.mark.parametrize("text", ["port = 0", "port = 65536", 'port = "9092"', "more = 1", "[", "hosts = 7", "\xff"])
def test_settings_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "coordinator.toml").write_bytes(text.encode("latin1"))
    with pytest.raises(ConfigurationError):
        Place.there(tmp_path)
