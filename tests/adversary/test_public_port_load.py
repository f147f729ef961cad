"""How much of the public port a stranger or a node may take up."""

from __future__ import annotations

import os
import resource
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from flwr.app import RecordDict
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
)
from flwr.proto.node_pb2 import Node

from federation.carriage.mailbox import unpack
from server.guard import AT_ONCE, PREFIX
from server.port import Prompt
from tests.port_scene import (
    Impatient,
    Port,
    a_key,
    a_port,
    an_attacked_port,
    asked,
    dialled,
    spoken,
    status_of,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    with an_attacked_port(tmp_path_factory.mktemp("port")) as made:
        yield made


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
        threads = [
            threading.Thread(target=lambda: found.append(asked(held, "pull-messages", question).status_code)) for _ in range(AT_ONCE + 8)
        ]
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
