"""What strangers and a node that means ill may send to the public port: nothing of it is an error of the server's.

Every body carries MARKER; no line of any log may have it, not even at level DEBUG.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
)
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node

from clients.residents import resident_megabytes
from federation.carriage.dealings import Dealings
from server.guard import LARGE, MIDDLE, PREFIX, ROUTES, SMALL
from tests.malformed_bodies import Bodies
from tests.port_scene import (
    MARKER,
    MEDIA,
    SEED,
    Port,
    a_message,
    a_reply,
    an_attacked_port,
    asked,
    dialled,
    post,
    requests,
    signed,
    spoken,
    status_of,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    with an_attacked_port(tmp_path_factory.mktemp("port")) as made:
        yield made


@pytest.fixture
def everything_logged(caplog) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(record.getMessage() + (record.exc_text or "") for record in caplog.records)


# -- what is asked -----------------------------------------------------------------------------------------------------------------------------


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
    made["pull-object"].append(
        PullObjectRequest(node=Node(node_id=node), run_id=head.run_id, object_id=head.message_id).SerializeToString()
    )
    made["push-object"].append(PushObjectRequest(node=Node(node_id=node), run_id=head.run_id, session_id="s", object_id="0" * 64,
                                                 object_content=MARKER.encode()).SerializeToString())  # fmt: skip
    fleet.close()
    return made


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
    assert port.thread.is_alive() and asked(
        port, "activate-node", requests(port, 0, port.keys["platform"])["activate-node"], "platform"
    ).status_code in (200, 412)
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
    with pytest.raises(AssertionError, match="marker"):
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


@pytest.mark.parametrize(("name", "length"), [("push-object", LARGE), ("push-messages", MIDDLE), ("pull-messages", SMALL)])
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
