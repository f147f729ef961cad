"""The coordinator's one public port, attacked by strangers and by a node that is enrolled and means ill: over real TLS, against uvicorn.

Every body that is sent carries MARKER; no line of any log may have it, not even at level DEBUG.
"""

from __future__ import annotations

import gzip
import logging
import os
import random
import resource
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

from clients.residents import resident_megabytes
from federation.carriage.dealings import MOST_TRIES, Dealings
from federation.carriage.fleet import inflated
from federation.carriage.mailbox import Parcel, pack, unpack
from server import guard
from server.guard import AT_ONCE, FORBIDDEN, LARGE, PREFIX, ROUTES, SMALL
from server.port import Prompt
from tests.port_scene import MEDIA, Port, a_key, a_message, a_port, replies, serving, signed

SEED = 20261130
MARKER = "marker-91-4403-0058"
REFUSED = {401, 403, 404, 405}


class Impatient(Prompt):
    """As deployed, in less time."""

    head = 1.0


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    with a_port(tmp_path_factory.mktemp("port"), protocol=Impatient) as made:
        for name in ("bank", "platform"):
            made.enrol(name)
        yield made


@pytest.fixture
def everything_logged(caplog) -> Iterator[Callable[[], str]]:
    caplog.set_level(logging.DEBUG)
    yield lambda: "\n".join(record.getMessage() + (record.exc_text or "") for record in caplog.records)


def post(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return client.post(path, content=body, headers=headers)


def asked(port: Port, name: str, message: Any, key: Any = "bank", **options: Any) -> httpx.Response:
    with port.client() as client:
        return post(client, PREFIX + name, message.SerializeToString(), signed(port.keys.get(key, key), **options))


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


def spoken(port: Port, request: bytes, seconds: float = 5.0) -> bytes:
    """What the server says to bytes of our own."""
    with closing(dialled(port)) as tls:
        tls.settimeout(seconds)
        tls.sendall(request)
        heard = b""
        try:
            while part := tls.recv(65536):
                heard += part
        except (TimeoutError, OSError):
            pass
        return heard


def dialled(port: Port) -> ssl.SSLSocket:
    return port.context().wrap_socket(socket.create_connection(("127.0.0.1", port.number), 5), server_hostname="localhost")


def status_of(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1]) if heard.startswith(b"HTTP/1.") else 0


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


def requests(port: Port, node: int, key: Any) -> dict[str, Any]:
    public = public_key_to_bytes(key.public_key())
    return {
        "activate-node": ActivateNodeRequest(public_key=public, heartbeat_interval=30),
        "deactivate-node": DeactivateNodeRequest(node_id=node),
        "send-node-heartbeat": SendNodeHeartbeatRequest(node=Node(node_id=node), heartbeat_interval=30),
        "pull-messages": PullMessagesRequest(node=Node(node_id=node)),
        "push-messages": PushMessagesRequest(node=Node(node_id=node)),
        "push-object": PushObjectRequest(node=Node(node_id=node)),
        "pull-object": PullObjectRequest(node=Node(node_id=node)),
    }


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
        assert control != 401 and (control == 200) == (name in ("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages")), control


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


# -- what is asked -----------------------------------------------------------------------------------------------------------------------------


class Bodies:
    """Malformed bodies for a route, from a seed."""

    def __init__(self, name: str, valid: list[bytes], seed: int) -> None:
        self._random, self._name, self._valid = random.Random(f"{seed}-{name}"), name, valid

    def __iter__(self) -> Iterator[tuple[bytes, dict[str, str]]]:
        makers = (self._noise, self._cut, self._turned, self._spliced, self._varint, self._fields, self._numbers, self._deep, self._wide,
                  self._typed, self._zipped, self._empty, self._long)  # fmt: skip
        while True:
            body, headers = self._random.choice(makers)()
            yield body, headers

    def _of(self) -> bytes:
        return self._random.choice(self._valid)

    def _noise(self) -> tuple[bytes, dict[str, str]]:
        return MARKER.encode() + self._random.randbytes(self._random.randrange(200)), {}

    def _cut(self) -> tuple[bytes, dict[str, str]]:
        body = self._of()
        return body[: self._random.randrange(len(body) + 1)], {}

    def _turned(self) -> tuple[bytes, dict[str, str]]:
        body = bytearray(self._of() or b"\0")
        for _ in range(self._random.randrange(1, 5)):
            body[self._random.randrange(len(body))] = self._random.randrange(256)
        return bytes(body), {}

    def _spliced(self) -> tuple[bytes, dict[str, str]]:
        one, other = self._of(), self._of()
        return one[: self._random.randrange(len(one) + 1)] + other[self._random.randrange(len(other) + 1) :], {}

    def _varint(self) -> tuple[bytes, dict[str, str]]:
        return bytes([self._random.randrange(1, 16) << 3]) + b"\xff" * self._random.randrange(1, 40) + b"\x01", {}

    def _fields(self) -> tuple[bytes, dict[str, str]]:
        text = MARKER.encode()
        return self._of() + b"".join(bytes([(self._random.randrange(1, 15) << 3) | 2, len(text)]) + text for _ in range(3)), {}

    def _numbers(self) -> tuple[bytes, dict[str, str]]:
        number = self._random.choice([0, 1, 2**63, 2**64 - 1])
        node, word = Node(node_id=number), self._random.choice([MARKER, "0" * 64, "", "\0", "f" * 64])
        message: Any = {
            "activate-node": lambda: ActivateNodeRequest(public_key=word.encode(), heartbeat_interval=self._random.choice([-1.0, float("nan"), float("inf"), 1e308])),
            "deactivate-node": lambda: DeactivateNodeRequest(node_id=number),
            "send-node-heartbeat": lambda: SendNodeHeartbeatRequest(node=node, heartbeat_interval=self._random.choice([-1.0, float("nan"), 1e308])),
            "pull-messages": lambda: PullMessagesRequest(node=node, message_ids=[word] * 3),
            "push-messages": lambda: self._reply(number, word),
            "push-object": lambda: PushObjectRequest(node=node, run_id=number, object_id=word, session_id=word, object_content=word.encode()),
            "pull-object": lambda: PullObjectRequest(node=node, run_id=number, object_id=word),
        }[self._name]()  # fmt: skip
        body = message.SerializeToString()
        return self._of() + body if self._random.random() < 0.5 else body, {}  # protobuf: what comes later holds

    def _reply(self, number: int, word: str) -> PushMessagesRequest:
        request = PushMessagesRequest.FromString(self._of())
        if not request.messages_list:
            request.messages_list.add()
        head = request.messages_list[0].metadata
        what = self._random.choice(["run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "ttl", "created_at", "message_type", "group_id"])
        value: Any = number if what in ("run_id", "src_node_id", "dst_node_id") else word
        setattr(head, what, self._random.choice([float("nan"), float("-inf"), -1.0, 1e300]) if what in ("ttl", "created_at") else value)
        return request

    def _tree(self, tree: ObjectTree) -> bytes:
        request = PushMessagesRequest.FromString(self._of())
        del request.message_object_trees[:]
        request.message_object_trees.append(tree)
        return bytes(request.SerializeToString())

    def _deep(self) -> tuple[bytes, dict[str, str]]:
        body = b""
        for _ in range(self._random.choice([50, 90, 110, 3000])):
            body = b"\x0a\x01a" + b"\x12" + _varint(len(body)) + body
        return b"\x1a" + _varint(len(body)) + body, {}

    def _wide(self) -> tuple[bytes, dict[str, str]]:
        if self._name != "push-messages":
            return self._noise()
        tree = ObjectTree(object_id="0" * 64)
        for number in range(self._random.choice([2, 600, 800, 10**5])):
            tree.children.add(object_id=self._random.choice([f"{number:064x}", "0" * 64, MARKER]))
        return self._tree(tree), {}

    def _typed(self) -> tuple[bytes, dict[str, str]]:
        return self._of(), {"content-type": self._random.choice(["application/json", "text/plain", MARKER, "", "multipart/form-data; boundary=x"])}

    def _zipped(self) -> tuple[bytes, dict[str, str]]:
        return gzip.compress(bytes(10**6)), {"content-encoding": "gzip"}

    def _empty(self) -> tuple[bytes, dict[str, str]]:
        return b"", {}

    def _long(self) -> tuple[bytes, dict[str, str]]:
        return MARKER.encode() * 4000, {}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def valid_bodies(port: Port, line: Any) -> dict[str, list[bytes]]:
    """Of the enrolled node, one message given to it and not answered yet."""
    node, fleet = port.link.register(port.keys["bank"].public_key(), "bank"), port.fleet("bank")
    fleet.activate(node)
    line.push_messages([a_message(node, MARKER.encode())])
    given = PullMessagesResponse.FromString(asked(port, "pull-messages", PullMessagesRequest(node=Node(node_id=node))).content)
    head = given.messages_list[0].metadata
    reply = a_reply(port, given, node)
    made = {name: [message.SerializeToString()] for name, message in requests(port, node, port.keys["bank"]).items()}
    made["push-messages"].append(reply.SerializeToString())
    made["pull-object"].append(PullObjectRequest(node=Node(node_id=node), run_id=head.run_id, object_id=head.message_id).SerializeToString())
    made["push-object"].append(PushObjectRequest(node=Node(node_id=node), run_id=head.run_id, session_id="s", object_id="0" * 64,
                                                 object_content=MARKER.encode()).SerializeToString())  # fmt: skip
    fleet.close()
    return made


def a_reply(port: Port, given: PullMessagesResponse, node: int) -> PushMessagesRequest:
    """As `Fleet.reply` announces it."""
    from flwr.app.message import remove_content_from_message
    from flwr.common.serde import message_from_proto, message_to_proto
    from flwr.supercore.inflatable.inflatable_object import get_object_tree

    question = message_from_proto(given.messages_list[0])
    reply = Message(pack(Parcel("answer", "run", MARKER.encode())), reply_to=question)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    return PushMessagesRequest(
        node=Node(node_id=node), messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[get_object_tree(reply)], clientapp_runtime_list=[0.1],
    )  # fmt: skip


def bombarded(port: Port, name: str, n: int, everything: Callable[[], str]) -> Counter[int]:
    """Statuses of n malformed bodies from the enrolled node and as many from a stranger."""
    found: Counter[int] = Counter()
    with port.link.line() as line:
        bodies = iter(Bodies(name, valid_bodies(port, line)[name], SEED))
        before = resident_megabytes()
        with port.client() as client:
            for _ in range(n):
                body, headers = next(bodies)
                for who in (signed(port.keys["bank"]), {"content-type": MEDIA}):
                    try:
                        found[post(client, PREFIX + name, body, who | headers).status_code] += 1
                    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                        found[0] += 1  # refused while it was still talking
        assert resident_megabytes() - before < 200
    assert port.thread.is_alive() and asked(port, "activate-node", requests(port, 0, port.keys["platform"])["activate-node"], "platform").status_code in (200, 412)
    assert not [status for status in found if status >= 500], f"{name}, seed {SEED}: {found}"
    assert MARKER not in everything(), name
    return found


@pytest.mark.parametrize("name", ROUTES)
def test_none_of_50_malformed_bodies_for_a_route_is_an_error_of_the_server(port, name, everything_logged):
    found = bombarded(port, name, 50, everything_logged)
    assert found[401] + found[0] >= 50, "the stranger's"


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUTES)
def test_none_of_1000_malformed_bodies_for_a_route_is_an_error_of_the_server(port, name, everything_logged):
    found = bombarded(port, name, 1000, everything_logged)
    print(f"{name}, seed {SEED}: {dict(sorted(found.items()))}")
    assert found[401] + found[0] >= 1000


def test_control_a_server_that_logs_what_it_is_sent_would_be_found_out(port, everything_logged, monkeypatch):
    real = Dealings.require

    def require(self: Dealings, name: str, node: int, body: bytes) -> None:
        logging.getLogger("creditfed.server").debug("asked %r", body)
        real(self, name, node, body)

    monkeypatch.setattr(Dealings, "require", require)
    with pytest.raises(AssertionError, match="MARKER|marker"):
        bombarded(port, "push-object", 20, everything_logged)


def test_control_without_the_checks_flowers_handlers_fail(port, everything_logged, monkeypatch):
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    with pytest.raises(AssertionError, match=r"Counter\(.*503"):
        bombarded(port, "push-object", 50, everything_logged)


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 7", "Content-Length: -1",
                                     "Content-Length: 99999999999999999999", "Content-Length: x", "Transfer-Encoding: gzip, chunked",
                                     "Transfer-Encoding: chunked\r\nContent-Length: 3"])  # fmt: skip
def test_a_body_that_is_not_as_announced_is_no_error_of_the_server(port, framing):
    headers = "".join(f"{key}: {value}\r\n" for key, value in signed(port.keys["bank"]).items())
    head = f"POST {PREFIX}deactivate-node HTTP/1.1\r\nHost: localhost\r\n{headers}{framing}\r\n\r\n".encode()
    for rest in (b"", b"5\r\nabc", b"zz\r\n", b"FFFFFFFFFFFFFFFF\r\na", MARKER.encode()):
        assert status_of(spoken(port, head + rest, 0.3)) in (0, 200, 400, 401, 403, 408, 412, 413, 501)
    assert port.thread.is_alive()


def test_what_came_of_a_body_whose_sender_hung_up_is_not_acted_upon(port):
    """Half a protobuf can be a whole one that says something else."""
    node, fleet = port.link.register(port.keys["bank"].public_key(), "bank"), port.fleet("bank")
    fleet.activate(node)
    fleet.close()
    body = requests(port, node, port.keys["bank"])["deactivate-node"].SerializeToString()
    headers = "".join(f"{key}: {value}\r\n" for key, value in signed(port.keys["bank"]).items())
    with closing(dialled(port)) as tls:
        tls.sendall(f"POST {PREFIX}deactivate-node HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 100\r\n\r\n".encode() + body)
        time.sleep(0.2)
    time.sleep(0.3)
    assert node in port.link.online()
    assert asked(port, "deactivate-node", DeactivateNodeRequest(node_id=node)).status_code == 200 and node not in port.link.online()


@pytest.mark.parametrize(("name", "length"), [("push-object", LARGE), ("push-messages", SMALL), ("pull-messages", SMALL)])
def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(port, name, length):
    headers = "".join(f"{key}: {value}\r\n" for key, value in signed(port.keys["bank"]).items())
    head = f"POST {PREFIX}{name} HTTP/1.1\r\nHost: localhost\r\n{headers}"
    assert status_of(spoken(port, f"{head}Content-Length: {length + 1}\r\n\r\n".encode())) == 413
    with closing(dialled(port)) as tls:  # one that does not say how long it is
        tls.settimeout(5)
        tls.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        try:
            while sent < 4 * length:
                tls.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
        except OSError:
            pass  # it has hung up
        assert sent < 4 * length or status_of(tls.recv(4096)) == 413
    assert status_of(spoken(port, f"{head}Content-Length: {length}\r\n\r\n".encode(), 0.3)) == 0, "control: it waits for the body"


# -- what a node may do to others ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(port) -> Iterator[tuple[Any, int, int, PullMessagesResponse]]:
    """A line, the numbers of bank and platform, and what the bank was given."""
    bank, platform = (port.link.register(port.keys[name].public_key(), name) for name in ("bank", "platform"))
    for name in ("bank", "platform"):
        with closing(port.fleet(name)) as fleet:
            fleet.activate(port.link.register(port.keys[name].public_key(), name))
    with port.link.line() as line:
        line.sent = line.push_messages([a_message(bank, b"for the bank")])
        yield line, bank, platform, PullMessagesResponse.FromString(asked(port, "pull-messages", PullMessagesRequest(node=Node(node_id=bank))).content)


def test_a_node_cannot_fetch_a_piece_of_anothers_message(port, given, monkeypatch):
    _, bank, platform, told = given
    head = told.messages_list[0].metadata

    def fetched(node: int, name: str) -> tuple[int, bytes]:
        answer = asked(port, "pull-object", PullObjectRequest(node=Node(node_id=node), run_id=head.run_id, object_id=head.message_id), name)
        return answer.status_code, PullObjectResponse.FromString(answer.content).object_content if answer.status_code == 200 else b""

    assert fetched(platform, "platform") == (403, b"")
    assert fetched(bank, "bank")[0] == 200
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    assert fetched(platform, "platform")[1], "control: Flower gives it to whoever knows its hash"


def test_a_node_cannot_throw_anothers_message_away(port, given, tmp_path, monkeypatch):
    _, _, platform, told = given
    head, store = told.messages_list[0].metadata, port.link.state.object_store
    order = ConfirmMessageReceivedRequest(node=Node(node_id=platform), run_id=head.run_id, message_object_id=head.message_id)
    assert asked(port, "confirm-message-received", order, "platform").status_code == 403 and head.message_id in store
    monkeypatch.setattr(port.guard, "_routes", ROUTES | guard.TRIAL)
    assert asked(port, "confirm-message-received", order, "platform").status_code == 403 and head.message_id in store, "nor where it is served"
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    assert asked(port, "confirm-message-received", order, "platform").status_code == 200 and head.message_id not in store, "control"


def changed(message: PushMessagesRequest, **fields: Any) -> PushMessagesRequest:
    made = PushMessagesRequest.FromString(message.SerializeToString())
    for name, value in fields.items():
        setattr(made.messages_list[0].metadata, name, value)
    return made


def test_a_reply_in_another_nodes_name_is_refused(port, given):
    _, bank, platform, told = given
    reply = a_reply(port, told, bank)
    reply.node.node_id = platform
    for forged in (reply, changed(reply, src_node_id=platform), changed(reply, src_node_id=platform, reply_to_message_id="0" * 64)):
        assert asked(port, "push-messages", forged, "platform").status_code == 403
    assert port.link.state.num_message_res() == 0
    own = a_reply(port, told, bank)
    assert asked(port, "push-messages", changed(own, run_id=7)).status_code == 403
    assert asked(port, "push-messages", changed(own, reply_to_message_id="0" * 64)).status_code == 403
    assert asked(port, "push-messages", own).status_code == 200, "control"


def test_a_reply_whose_own_pieces_name_another_message_is_taken_for_what_its_head_says(port, given):
    """Flower checks the head and not the piece that repeats it: whose answer it is must come from the head."""
    line, bank, _, told = given
    with closing(port.fleet("bank")) as fleet:
        fleet.node_id = bank
        contents = {}
        for tree in told.message_object_trees:
            from federation.carriage.dealings import pieces_of

            contents = {piece: fleet._pull(told.messages_list[0].metadata.run_id, piece) for piece in pieces_of(tree)}
        question = inflated(told.messages_list[0].metadata.message_id, contents)
        question.metadata.__dict__["_message_id"] = told.messages_list[0].metadata.message_id
        reply = Message(pack(Parcel("answer", "run", b"as somebody else")), reply_to=question)
        true = reply.metadata.reply_to_message_id
        reply.metadata.__dict__["_reply_to_message_id"] = "f" * 64  # in the piece; the head keeps the true one
        reply.metadata.__dict__["_src_node_id"] = 999
        identifier = reply.object_id
        announced = a_reply(port, told, bank)
        del announced.message_object_trees[:]
        from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

        announced.message_object_trees.append(get_object_tree(reply))
        announced.messages_list[0].metadata.message_id = identifier
        answer = PushMessagesResponse.FromString(asked(port, "push-messages", announced).content)
        for piece, thing in get_all_nested_objects(reply).items():
            if piece in answer.objects_to_push:
                request = PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id, session_id=answer.session_id,
                                            object_id=piece, object_content=thing.deflate())  # fmt: skip
                assert asked(port, "push-object", request).status_code == 200
    (heard,) = replies(line, line.sent)
    assert heard.metadata.reply_to_message_id == true == line.sent[0] and heard.metadata.src_node_id == bank
    assert unpack(heard.content, "bank").payload == b"as somebody else"


def test_a_reply_that_makes_no_message_comes_as_one_that_no_mailbox_takes(port, given, monkeypatch):
    """And is that node's fault, not an error in the run's thread."""
    from federation.kernel.errors import PeerError
    from server.post import GridPost

    line, bank, _, told = given
    reply = a_reply(port, told, bank)
    rubbish = b"Nonsense,,3\x00abc"
    from flwr.supercore.inflatable.inflatable_object import get_object_id

    del reply.message_object_trees[:]
    reply.message_object_trees.add(object_id=get_object_id(rubbish))
    reply.messages_list[0].metadata.message_id = get_object_id(rubbish)
    answer = PushMessagesResponse.FromString(asked(port, "push-messages", reply).content)
    assert list(answer.objects_to_push) == [get_object_id(rubbish)]
    asked(port, "push-object", PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id,
                                                 session_id=answer.session_id, object_id=get_object_id(rubbish), object_content=rubbish))  # fmt: skip
    import federation.carriage.flower

    monkeypatch.setattr(federation.carriage.flower, "waits", lambda: iter([0.01] * 3))
    post = GridPost(line, {"bank": bank})
    post._due = {line.sent[0]: "bank"}
    with pytest.raises(PeerError, match="bank"):
        post.collect()


def stored_megabytes(port: Port) -> float:
    from sqlalchemy import text

    with port.link.state.session() as session:
        return float(session.execute(text("select coalesce(sum(length(content)), 0) from objects")).scalar() or 0) / 1e6


def filled(port: Port, told: PullMessagesResponse, bank: int, rounds: int, own_root: bool) -> Counter[int]:
    """Announce pieces that nobody asked for, by one reply again and again, and send them."""
    from flwr.supercore.inflatable.inflatable_object import get_object_id

    found: Counter[int] = Counter()
    base = a_reply(port, told, bank)
    for number in range(rounds):
        content = f"ArrayChunk  {10**5}".encode() + b"\x00" + number.to_bytes(8, "big") * 12500
        reply = PushMessagesRequest.FromString(base.SerializeToString())
        if own_root:
            reply.message_object_trees[0].children.add(object_id=get_object_id(content))
        else:
            reply.message_object_trees[0].CopyFrom(ObjectTree(object_id=get_object_id(content)))
        answer = asked(port, "push-messages", reply)
        found[answer.status_code] += 1
        if answer.status_code == 200:
            told_back = PushMessagesResponse.FromString(answer.content)
            asked(port, "push-object", PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id,
                                                         session_id=told_back.session_id, object_id=get_object_id(content), object_content=content))  # fmt: skip
    return found


@pytest.mark.parametrize("own_root", [False, True])
def test_a_node_cannot_fill_the_coordinators_disk_by_one_reply(port, given, own_root):
    _, bank, _, told = given
    before = stored_megabytes(port)
    found = filled(port, told, bank, 20, own_root)
    assert stored_megabytes(port) - before < 0.2, "one tree at most"
    assert set(found) <= {200, 400, 403, 409} and found[200] <= 1


def test_control_without_the_checks_it_can(port, given, monkeypatch):
    _, bank, _, told = given
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    before = stored_megabytes(port)
    assert filled(port, told, bank, 20, own_root=False)[200] == 20
    assert stored_megabytes(port) - before > 1.9, "every one of them"


def test_a_node_may_send_its_reply_again_and_not_for_ever(port, given):
    _, bank, _, told = given
    reply = a_reply(port, told, bank)
    found = Counter(asked(port, "push-messages", reply).status_code for _ in range(MOST_TRIES + 5))
    assert found == {200: MOST_TRIES, 403: 5}


# -- how much ------------------------------------------------------------------------------------------------------------------------------------


def test_slow_strangers_keep_nobody_waiting_and_are_shut_out(port):
    """200 connections that have begun a request and do not end it."""
    with ExitStack() as stack:
        slow = []
        for number in range(200):
            tls = stack.enter_context(closing(dialled(port)))
            tls.sendall(b"POST " if number % 2 else f"POST {PREFIX}pull-messages HTTP/1.1\r\nX-Slow: ".encode())
            slow.append(tls)
        with closing(port.fleet("bank")) as fleet:
            started = time.monotonic()
            fleet.activate(port.link.register(port.keys["bank"].public_key(), "bank"))
            assert fleet.heartbeat() and time.monotonic() - started < 5
        time.sleep(Impatient.head + 0.5)
        for tls in slow:
            tls.settimeout(1)
        assert sum(ended(tls) for tls in slow) == 200


def test_who_sends_a_head_byte_by_byte_is_shut_out(port):
    with closing(dialled(port)) as tls:
        started, sent = time.monotonic(), 0
        try:
            while time.monotonic() - started < 5:
                tls.sendall(b"P")
                sent += 1
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - started < 4 and sent < 30


def test_control_uvicorns_own_protocol_waits_for_ever(tmp_path):
    class Patient(Prompt):
        def _wait(self) -> None:
            """As uvicorn."""

    with a_port(tmp_path, protocol=Patient) as patient, closing(dialled(patient)) as tls:
        tls.sendall(b"POST ")
        tls.settimeout(2.5)
        with pytest.raises(TimeoutError):
            tls.recv(1)


def ended(tls: ssl.SSLSocket) -> bool:
    try:
        return tls.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_the_head_of_a_request_has_a_limit(port):
    assert status_of(spoken(port, b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * (1 << 20), 2)) in (0, 400, 431)
    assert port.thread.is_alive()


def test_the_questions_of_strangers_are_not_held(tmp_path):
    with a_port(tmp_path, hold=1.0) as held:
        node, stranger = held.enrol("bank"), a_key()
        question = PullMessagesRequest(node=Node(node_id=node))
        started = time.monotonic()
        for key, expected in ((stranger, 401), ("bank", 200)):
            assert asked(held, "pull-messages", question, key).status_code == expected
            assert (time.monotonic() - started < 0.8) == (expected == 401), "control: the node's own is held"


def test_a_node_has_so_many_requests_at_one_time(tmp_path):
    import threading

    with a_port(tmp_path, hold=3.0) as held:
        node = held.enrol("bank")
        found: list[int] = []
        question = PullMessagesRequest(node=Node(node_id=node))
        threads = [threading.Thread(target=lambda: found.append(asked(held, "pull-messages", question).status_code)) for _ in range(AT_ONCE + 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter(found)[200] >= AT_ONCE and Counter(found)[429] >= 1 and set(found) == {200, 429}
        assert asked(held, "deactivate-node", DeactivateNodeRequest(node_id=node)).status_code == 412, "and is served again afterwards"
        assert not held.guard._busy


def test_descriptors_are_there_for_as_many_connections_as_are_taken(port):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard or soft >= 2 * 4096, os.getpid()


def test_a_message_without_records_is_no_parcel():
    from federation.kernel.errors import PeerError

    with pytest.raises(PeerError):
        unpack(RecordDict(), "bank")


def test_the_trial_serves_three_routes_more_and_no_other():
    assert set(guard.TRIAL) == set(FORBIDDEN) - {"register-node", "unregister-node"}
