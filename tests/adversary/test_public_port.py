"""The coordinator's one public port, asked by strangers and by a node that is enrolled for what is not theirs: over real TLS, against uvicorn."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

from server.guard import LARGE, PREFIX, ROUTES
from tests.port_scene import (
    MEDIA,
    REFUSED,
    Port,
    a_key,
    an_attacked_port,
    dialled,
    post,
    requests,
    serving,
    signed,
    spoken,
    status_of,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    with an_attacked_port(tmp_path_factory.mktemp("port")) as made:
        yield made


# -- routes ------------------------------------------------------------------------------------------------------------------------------------

OTHERS = sorted(path for _, path in PROTOBUF_REQUEST_TYPES if path.removeprefix(PREFIX) not in ROUTES)
PAGES = ("/docs", "/openapi.json", "/redoc", "/healthz", "/health", "/", "/v1", "/v1/fleet", "/v1/fleet/", "/v1/responses", "/metrics")


@pytest.mark.parametrize("who", ["stranger", "enrolled"])
def test_every_route_but_a_nodes_own_is_refused_to_everybody(port, who):
    assert len(OTHERS) >= 60
    headers = signed(port.keys["bank"]) if who == "enrolled" else {"content-type": MEDIA}
    with port.client() as client:
        for path in (*OTHERS, *PAGES):
            assert post(client, path, b"", headers).status_code in REFUSED, path
            assert client.get(path, headers=headers).status_code in REFUSED, path


def test_control_flowers_whole_application_answers_on_these_routes(port, tmp_path, monkeypatch):
    from flwr.superlink.main import create_app

    from server.pki import make_ca, make_server
    from tests.port_scene import now

    monkeypatch.setenv("FLWR_DATABASE", ":memory:")
    make_ca(tmp_path, now())
    make_server(tmp_path, ("localhost", "127.0.0.1"), now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tmp_path / "ca.pem")
    with serving(create_app(), tmp_path) as (number, _), httpx.Client(base_url=f"https://localhost:{number}", verify=context) as client:
        found = Counter(post(client, path, b"", {"content-type": MEDIA}).status_code in REFUSED for path in OTHERS if "/control/" in path)
        assert found[False] > 20, "Control routes that do something for a stranger"
        assert client.get("/docs").status_code == 200 and client.get("/openapi.json").status_code == 200


TRICKS = (
    "//v1/fleet/pull-messages", "/v1//fleet/pull-messages", "/v1/fleet//pull-messages", "/v1/fleet/pull-messages/", "/V1/FLEET/PULL-MESSAGES",
    "/v1/control/../fleet/pull-messages", "/v1/fleet/../control/list-runs", "/v1/fleet/%2e%2e/control/list-runs", "/v1/fleet/..%2fcontrol/list-runs",
    "/v1/fleet%2f..%2fcontrol%2flist-runs", "/v1/%63ontrol/list-runs", "/v1/fleet/pull-messages;/../../control/list-runs", "/v1/fleet/get-fab%00",
    "/v1/fleet/pull-messages%0d%0aX: y", "/v1/fleet/%67et-fab", "/v1/fleet/register-node", "/v1/fleet/\u0155egister", "/../etc/passwd", "*",
    "https://elsewhere.example/v1/control/list-runs", "https://localhost/v1/control/list-runs",
)  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_no_other_way_to_write_a_path_leads_anywhere(port, path, method):
    headers = "".join(f"{key}: {value}\r\n" for key, value in signed(port.keys["bank"]).items())
    heard = spoken(port, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n".encode())
    assert status_of(heard) in REFUSED | {400}, heard[:80]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "POSTS"])
def test_a_nodes_routes_take_post_alone(port, method):
    for name in ROUTES:
        heard = spoken(port, f"{method} {PREFIX}{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert status_of(heard) in REFUSED | {400}, (name, heard[:80])


def test_a_web_socket_is_not_opened(port):
    for path in ("/", f"{PREFIX}pull-messages"):
        heard = spoken(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())  # fmt: skip
        assert status_of(heard) in REFUSED, heard[:80]


# -- who asks ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROUTES)
def test_who_cannot_show_the_key_of_an_enrolled_node_is_refused(port, name):
    bank, platform, stranger = port.keys["bank"], port.keys["platform"], a_key()
    revoked = port.keys["revoked"] = a_key()
    gone = port.link.register(revoked.public_key(), "revoked")
    port.link.unregister(revoked.public_key())
    number = port.link.register(bank.public_key(), "bank")
    mine = requests(port, number, bank)[name]
    attempts = {
        "no header": (mine, {"content-type": MEDIA}),
        "a stranger's key": (requests(port, number, stranger)[name], signed(stranger)),
        "a stranger's signature under the node's key": (mine, signed(stranger, claims=bank)),
        "a revoked key": (requests(port, gone, revoked)[name], signed(revoked)),
        "headers of ten minutes ago": (mine, signed(bank, seconds_ago=600)),
        "headers of the future": (mine, signed(bank, seconds_ago=-60)),
        "another node's number": (mine, signed(platform)),
        "no signature": (mine, signed(bank) | {"flwr-signature": ""}),
        "two keys": (mine, signed(bank) | {"flwr-public-key": signed(platform)["flwr-public-key"]}),
    }
    with port.client() as client:
        for what, (message, headers) in attempts.items():
            answer = post(client, PREFIX + name, message.SerializeToString(), headers)
            assert answer.status_code in (400, 401, 403) and answer.status_code != 200, (what, answer.status_code)
            if what != "another node's number":
                assert answer.status_code == 401, what
        control = post(client, PREFIX + name, mine.SerializeToString(), signed(bank)).status_code
        assert control != 401 and (control == 200) == (
            name in ("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages")
        ), control


def test_a_stranger_is_told_so_before_its_body_is_read(port):
    head = f"POST {PREFIX}push-object HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MEDIA}\r\nContent-Length: {LARGE}\r\n\r\n".encode()
    with closing(dialled(port)) as tls:
        tls.settimeout(5)
        tls.sendall(head)  # and nothing of the body
        assert status_of(tls.recv(4096)) == 401


def test_control_an_enrolled_node_is_heard_out(port):
    headers = "".join(f"{key}: {value}\r\n" for key, value in signed(port.keys["bank"]).items())
    head = f"POST {PREFIX}push-object HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 1000\r\n\r\n".encode()
    with closing(dialled(port)) as tls:
        tls.settimeout(1)
        tls.sendall(head)
        with pytest.raises(TimeoutError):
            tls.recv(4096)
