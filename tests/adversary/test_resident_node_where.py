"""Where a resident node goes, and to whom it speaks: to the one server whose certificate the invitation's authority has signed for its name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesResponse

from clients.checks import examine
from federation.kernel.errors import ConfigurationError
from server.pki import CA, make_ca, make_server
from tests.hostile_server import ENDLESS, Hostile, Scene, answers_still, quick
from tests.port_scene import now, serving


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    quick(monkeypatch)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path, Hostile())


# -- where it goes -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["activate-node", "pull-messages"])
def test_no_redirect_is_followed(scene, status, name):
    """Else the coordinator could have the node ask within its institution's network, with its signature."""
    elsewhere = Hostile()
    with serving(elsewhere, scene.tls) as (other, _):
        scene.server.replaced[name] = lambda _: (status, {"location": f"https://localhost:{other}/v1/fleet/{name}"}, b"")
        with scene.running():
            scene.until(lambda: scene.server.asked[name] >= 2)
            assert not elsewhere.asked
            answers_still(scene)


def test_control_flowers_own_client_follows_and_brings_its_signature(scene):
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    from tests.port_scene import a_key

    key, elsewhere = a_key(), Hostile()
    with serving(elsewhere, scene.tls) as (other, _), serving(scene.server, scene.tls) as (number, _):
        scene.server.replaced["pull-messages"] = lambda _: (307, {"location": f"https://127.0.0.1:{other}/inner"}, b"")
        signs = [NodeAuthHttpInterceptor(key, key.public_key())]
        client = FleetHttpClient.from_server_address(f"localhost:{number}", False, (scene.tls / CA).read_bytes(), signs)
        with client, pytest.raises(httpx.HTTPStatusError):
            client.PullMessages(PullMessagesResponse())
    assert elsewhere.asked["/inner"] == 1 and "flwr-signature" in elsewhere.headers[0]


def refused(scene: Scene, **invited: Any) -> str:
    """What the node ends with; the server was asked nothing."""
    with scene.running(**invited):
        scene.until(lambda: scene.failure is not None)
    assert isinstance(scene.failure, ConfigurationError), scene.failure
    assert not scene.server.asked and not scene.server.headers
    certificate = {each.name: each for each in examine(scene.home)}["certificate"]
    assert certificate.verdict == "wrong"
    return str(scene.failure)


def test_a_server_of_another_authority_is_told_nothing(scene, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_ca(other, now())
    said = refused(scene, authority=(other / CA).read_bytes())
    assert "certificate" in said and "by telephone" in said


def test_a_server_of_another_name_is_told_nothing(scene, monkeypatch):
    import shutil

    shutil.rmtree(scene.tls)
    scene.tls.mkdir()
    make_ca(scene.tls, now())
    make_server(scene.tls, ("elsewhere.example",), now())
    assert "ostname mismatch" in refused(scene)


def test_a_server_with_an_expired_certificate_is_told_nothing(scene):
    import shutil

    past = (dt.datetime.now(dt.UTC) - dt.timedelta(days=500)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shutil.rmtree(scene.tls)
    scene.tls.mkdir()
    make_ca(scene.tls, past)
    make_server(scene.tls, ("localhost", "127.0.0.1"), past)
    assert "expired" in refused(scene)


def test_control_the_right_certificate_is_served(scene):
    with scene.running():
        scene.until(lambda: scene.server.asked["pull-messages"] >= 1)
        certificate = {each.name: each for each in examine(scene.home)}["certificate"]
        assert certificate.verdict == "ok"


# -- the doctor ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("date", ["", "x", "Mon, 99 Foo 2020", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0000"])
def test_the_doctor_reads_the_time_and_nothing_after_it(scene, date):
    scene.server.replaced["/"] = lambda _: (200, {"date": date}, ENDLESS)
    scene.server.replaced["activate-node"] = lambda _: (200, {}, bytes(range(256)))
    with serving(scene.server, scene.tls) as (number, _):
        scene.invite(number)
        findings = {each.name: each for each in examine(scene.home)}
        scene.until(lambda: scene.server.poured)
    assert findings["clock"].verdict in ("look", "wrong") and findings["enrolment"].verdict == "look"
    assert scene.server.poured < 50
