"""What creditfed relies on in Flower and Flower does not promise: when Flower is upgraded, the test that fails says what has changed."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message, RecordDict

from federation.carriage import flower
from federation.carriage.dealings import LONGEST_PIECE, MOST_OBJECTS, pieces_of
from federation.carriage.fleet import HEARTBEAT, Fleet, failed
from federation.carriage.mailbox import LARGEST, Parcel, pack, unpack
from server import guard
from server.post import GridPost
from tests.port_scene import a_key, a_message, a_port, replies

ROOT = Path(__file__).resolve().parents[2]
STATE = "flwr.server.superlink.linkstate.sql_linkstate:SqlLinkState"
STORE = "flwr.supercore.object_store.sql_object_store:SqlObjectStore"
FLEET = "flwr.supernode.fleet_http_client:FleetHttpClient"
HANDLERS = "flwr.superlink.servicer.fleet.fleet_handlers:"
INFLATABLE = "flwr.supercore.inflatable.inflatable_object"

SIGNATURES: dict[str, tuple[tuple[str, ...], str, str]] = {
    # what, its parameters, where, for what
    f"{FLEET}.from_server_address": (("server_address", "insecure", "root_certificates", "interceptors", "retry_invoker"), "fleet", "a node's connection"),
    f"{FLEET}.ActivateNode": (("self", "request"), "fleet", "coming online"),
    f"{FLEET}.DeactivateNode": (("self", "request"), "fleet", "going offline"),
    f"{FLEET}.SendNodeHeartbeat": (("self", "request"), "fleet", "signs of life"),
    f"{FLEET}.PullMessages": (("self", "request"), "fleet", "messages"),
    f"{FLEET}.PullObject": (("self", "request"), "fleet", "their pieces"),
    f"{FLEET}.PushMessages": (("self", "request"), "fleet", "replies"),
    f"{FLEET}.PushObject": (("self", "request"), "fleet", "their pieces"),
    f"{FLEET}.close": (("self",), "fleet", "letting the connection go"),
    "flwr.supernode.node_auth_http_interceptor:NodeAuthHttpInterceptor": (("private_key", "public_key"), "fleet", "signing each request"),
    "flwr.superlink.routers.fleet.node_auth:authenticate_node": (("request",), "flower", "telling strangers from nodes before a body is read"),
    "flwr.supercore.primitives.asymmetric:public_key_to_bytes": (("public_key",), "flower", "the key by which a node is known"),
    f"{INFLATABLE}:get_object_id": (("object_content",), "fleet", "checking each piece against its hash"),
    f"{INFLATABLE}:get_object_tree": (("obj",), "whole", "announcing pieces"),
    f"{INFLATABLE}:get_all_nested_objects": (("obj",), "whole", "pieces"),
    f"{INFLATABLE}:iterate_object_tree": (("tree",), "dealings", "counting pieces"),
    f"{INFLATABLE}:no_object_id_recompute": ((), "flower", "hashing each piece once"),
    f"{INFLATABLE}:is_valid_sha256_hash": (("object_id",), "dealings", "trees that Flower's state takes"),
    "flwr.supercore.inflatable.inflatable_utils:inflate_object_from_contents": (
        ("object_id", "object_contents", "keep_object_contents", "objects"), "fleet", "making a message of its pieces"),
    "flwr.app.message:remove_content_from_message": (("message",), "whole", "a message's head"),
    "flwr.common.serde:message_to_proto": (("message",), "fleet", "a message's head on the wire"),
    "flwr.common.serde:message_from_proto": (("message_proto",), "fleet", "a message's head from the wire"),
    "flwr.superlink.config_loader:get_objectstore_linkstate_factories": (("database", "federation_manager"), "flower", "the state"),
    "flwr.superlink.config_loader:get_federation_manager": (("is_simulation",), "flower", "the state"),
    f"{HANDLERS}activate_node": (("request", "state"), "flower", "coming online"),
    f"{HANDLERS}deactivate_node": (("request", "state"), "flower", "going offline"),
    f"{HANDLERS}send_node_heartbeat": (("request", "state"), "flower", "signs of life"),
    f"{HANDLERS}pull_messages": (("request", "state", "store"), "flower", "messages"),
    f"{HANDLERS}push_messages": (("request", "state"), "flower", "replies"),
    f"{HANDLERS}push_object": (("request", "state"), "flower", "their pieces"),
    f"{HANDLERS}pull_object": (("request", "state"), "flower", "their pieces"),
    f"{STATE}.get_node_id_by_public_key": (("self", "public_key"), "flower", "who a key belongs to"),
    f"{STATE}.create_node": (("self", "owner_aid", "owner_name", "public_key", "heartbeat_interval", "location", "name"), "flower", "enrolment"),
    f"{STATE}.delete_node": (("self", "owner_aid", "node_id"), "flower", "revocation"),
    f"{STATE}.get_nodes": (("self", "run_id"), "flower", "who is online"),
    f"{STATE}.create_run": (("self", "fab_id", "fab_version", "fab_hash", "override_config", "federation_id", "federation_config", "flwr_aid",
                             "primary_task_type", "series_id", "series_description", "connector_ids", "initial_task_event", "user_prompt"), "flower", "a run"),
    f"{STATE}.get_run_info": (("self", "run_ids", "statuses", "flwr_aids", "federation_ids", "order_by", "ascending", "limit", "skip"), "flower", "runs"),
    f"{STATE}.claim_task": (("self", "task_id"), "flower", "a run's being under way"),
    f"{STATE}.activate_task": (("self", "task_id"), "flower", "a run's being under way"),
    f"{STATE}.finish_task": (("self", "task_id", "sub_status", "details"), "flower", "a run's end"),
    f"{STATE}.acknowledge_task_heartbeat": (("self", "task_id"), "flower", "a run's staying under way"),
    f"{STATE}.cleanup_run": (("self", "run_id"), "flower", "deleting what a run leaves"),
    f"{STATE}.start_session": (("self", "run_id"), "flower", "giving a message out"),
    f"{STATE}.store_message_ins": (("self", "message"), "flower", "giving a message out"),
    f"{STATE}.preregister_object_tree": (("self", "object_tree", "session_id"), "flower", "giving a message out"),
    f"{STORE}.preregister": (("self", "run_id", "object_tree"), "flower", "giving a message out"),
    f"{STATE}.store_object": (("self", "run_id", "session_id", "object_id", "object_content"), "flower", "giving its pieces out"),
    f"{STATE}.get_object": (("self", "run_id", "object_id"), "flower", "a reply's pieces"),
    f"{STATE}.get_message_res": (("self", "message_ids", "run_id"), "flower", "replies"),
    f"{STATE}.delete_messages": (("self", "message_ins_ids"), "flower", "forgetting what was answered"),
    f"{STATE}.session": (("self",), "flower", "one transaction for what belongs together"),
    f"{STORE}.get_object_tree": (("self", "object_id"), "flower", "a reply's pieces"),
    f"{STORE}.delete": (("self", "object_id"), "flower", "deleting a message's pieces"),
    f"{STORE}.clear": (("self",), "flower", "deleting what a killed process left"),
}  # fmt: skip

CONSTANTS: dict[str, tuple[Any, str, str]] = {
    "flwr.common.constant:HEARTBEAT_DEFAULT_INTERVAL": (30, "fleet", "when a node counts as offline"),
    "flwr.common.constant:FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE": (5 << 20, "dealings", "the length of a piece"),
    "flwr.common.constant:TIMESTAMP_TOLERANCE": (300, "flower", "what clients.checks says of clocks"),
    "flwr.common.constant:SUPERLINK_NODE_ID": (flower.SERVER, "flower", "the server's own number"),
    "flwr.supercore.constant:FLEET_HTTP_PUBLIC_KEY_HEADER": ("flwr-public-key", "flower", "whose signature it is"),
    "flwr.supercore.constant:OBJECT_PUSH_SESSION_TTL_SECONDS": (180, "fleet", "how long a reply's pieces may take"),
    "flwr.supercore.constant:NOOP_FEDERATION_ID": ("@none/default", "flower", "a federation that has every node"),
    "flwr.common.constant:NOOP_FLWR_AID": ("<id:none>", "flower", "who owns the nodes"),
    "flwr.common.constant:NOOP_ACCOUNT_NAME": ("none", "flower", "who owns the nodes"),
}

FIELDS: dict[str, tuple[tuple[str, ...], str]] = {
    "flwr.proto.fleet_pb2:PullMessagesRequest": (("node", "message_ids"), "the question for messages"),
    "flwr.proto.fleet_pb2:PullMessagesResponse": (("reconnect", "messages_list", "message_object_trees"), "messages"),
    "flwr.proto.fleet_pb2:PushMessagesRequest": (("node", "messages_list", "message_object_trees", "clientapp_runtime_list"), "replies"),
    "flwr.proto.fleet_pb2:PushMessagesResponse": (("reconnect", "results", "objects_to_push", "session_id"), "replies"),
    "flwr.proto.fleet_pb2:ActivateNodeRequest": (("public_key", "heartbeat_interval"), "coming online"),
    "flwr.proto.fleet_pb2:ActivateNodeResponse": (("node_id",), "coming online"),
    "flwr.proto.fleet_pb2:DeactivateNodeRequest": (("node_id",), "going offline"),
    "flwr.proto.heartbeat_pb2:SendNodeHeartbeatRequest": (("node", "heartbeat_interval"), "signs of life"),
    "flwr.proto.message_pb2:PullObjectRequest": (("node", "run_id", "object_id"), "pieces"),
    "flwr.proto.message_pb2:PullObjectResponse": (("object_found", "object_available", "object_content"), "pieces"),
    "flwr.proto.message_pb2:PushObjectRequest": (("node", "run_id", "object_id", "object_content", "session_id"), "pieces"),
    "flwr.proto.message_pb2:ObjectTree": (("object_id", "children"), "pieces"),
    "flwr.proto.message_pb2:Metadata": (("run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "group_id", "ttl", "message_type",
                                         "created_at", "src_task_id", "dst_task_id"), "a message's head"),
}  # fmt: skip


def found(place: str) -> Any:
    module, _, names = place.partition(":")
    thing = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        thing = getattr(thing, name)
    return thing


def changed(place: str, file: str, purpose: str, what: str = "") -> str:
    version = importlib.metadata.version("flwr")
    return f"flwr {version}: {place} changed: creditfed relies on it in federation/carriage/{file}.py for {purpose}{what and ' (' + what + ')'}"


def test_the_version_is_pinned_to_the_one_that_this_file_describes():
    (pin,) = [each for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] if each.startswith("flwr")]
    assert pin.replace(" ", "").partition("==")[2].split(";")[0] == flower.VERSION == importlib.metadata.version("flwr")


@pytest.mark.parametrize("place", SIGNATURES)
def test_a_call(place):
    expected, file, purpose = SIGNATURES[place]
    try:
        now = tuple(inspect.signature(found(place)).parameters)
    except (ImportError, AttributeError) as error:
        pytest.fail(changed(place, file, purpose, str(error)))
    assert now == expected, changed(place, file, purpose, f"its parameters are {now}")


def test_control_a_call_with_other_parameters_would_be_named(monkeypatch):
    from flwr.supernode.fleet_http_client import FleetHttpClient

    monkeypatch.setattr(FleetHttpClient, "PullMessages", lambda self, request, more: None)
    with pytest.raises(
        AssertionError, match=r"flwr 1\.\S+: .*PullMessages changed: creditfed relies on it in federation/carriage/fleet.py for messages"
    ):
        test_a_call(f"{FLEET}.PullMessages")
    monkeypatch.delattr(FleetHttpClient, "PullObject")
    with pytest.raises(pytest.fail.Exception, match="PullObject changed"):
        test_a_call(f"{FLEET}.PullObject")


@pytest.mark.parametrize("place", CONSTANTS)
def test_a_constant(place):
    expected, file, purpose = CONSTANTS[place]
    try:
        now = found(place)
    except (ImportError, AttributeError) as error:
        pytest.fail(changed(place, file, purpose, str(error)))
    assert now == expected, changed(place, file, purpose, f"it is {now!r}")


@pytest.mark.parametrize("place", FIELDS)
def test_a_message_of_the_wire(place):
    expected, purpose = FIELDS[place]
    now = {field.name for field in found(place).DESCRIPTOR.fields}
    assert now >= set(expected), changed(place, "fleet", purpose, f"it lacks {set(expected) - now}")
    assert now <= set(expected), changed(place, "dealings", purpose, f"it has more, which nobody has looked at: {now - set(expected)}")


def test_the_fleet_routes_are_those_that_the_guard_knows():
    """A new one must be looked at before it is let through or forbidden."""
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
    from flwr.superlink.routers.fleet.router import router

    known = {guard.PREFIX + name for name in (*guard.ROUTES, *guard.FORBIDDEN)}
    routed = {route.path for route in router.routes}
    typed = {path for method, path in PROTOBUF_REQUEST_TYPES if path.startswith(guard.PREFIX)}
    assert routed == known == typed, changed("the Fleet API", "flower", "what the guard lets through", str(routed ^ known | typed ^ known))
    assert all(route.methods == {"POST"} for route in router.routes)
    assert not set(guard.ROUTES) & set(guard.FORBIDDEN)


def test_every_error_of_flowers_has_a_status():
    from flwr.supercore.error import ApiErrorCode
    from flwr.supercore.error.catalog import API_ERROR_MAP

    fleets = {code for code in ApiErrorCode if code.name.startswith("FLEET_") and 2000 < code < 3000}
    assert fleets and all(400 <= API_ERROR_MAP[code].http_status_code < 500 for code in fleets), changed("the errors", "flower", "answers")


def test_flowers_state_keeps_a_message_with_its_content():
    """So that a short one needs no pieces."""
    for name in ("MessageIns", "MessageRes"):
        columns = found(f"flwr.supercore.state.schema.linkstate_models:{name}").__table__.columns.keys()
        assert "content" in columns, changed(name, "whole", "messages that travel whole")


def test_the_state_writes_no_more_than_it_must(tmp_path):
    from sqlalchemy import text

    link = flower.SuperLink(str(tmp_path / "superlink.db"))
    with link.transaction() as session:
        found = [session.execute(text(f"PRAGMA {name}")).scalar() for name in ("secure_delete", "wal_autocheckpoint", "journal_mode")]
    assert found == [2, 16384, "wal"], changed("SqlLinkState._engine", "flower", "how its connections are set up", str(found))


def test_replies_are_kept_by_what_they_reply_to():
    columns = set(found("flwr.supercore.state.schema.linkstate_models:MessageRes").__table__.columns.keys())
    assert columns >= {"message_id", "reply_to_message_id"}, changed("MessageRes", "flower", "deleting what was announced as a reply")


def test_the_client_has_what_is_set_on_it():
    """No redirects and no compression: `Fleet` says so to the client within Flower's."""
    import httpx
    from flwr.supernode.fleet_http_client import FleetHttpClient

    client = FleetHttpClient("https://localhost:1")
    assert isinstance(client._client, httpx.Client), changed(FLEET, "fleet", "following no redirect")
    client.close()


def test_flower_keeps_what_is_put_into_its_dictionaries():
    """Message, its metadata and TaskIdentity are set where Flower has no call for it."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    assert set(vars(type(TaskIdentity))) >= {"run_id", "node_id", "task_id"}, changed("TaskIdentity", "flower", "making messages")
    message = Message(RecordDict(), 7, "query.mailbox")
    for name in ("run_id", "src_node_id", "message_id"):
        message.metadata.__dict__[f"_{name}"] = "9" if name == "message_id" else 9
        assert str(getattr(message.metadata, name)) == "9", changed(f"Metadata._{name}", "flower", "a line's own run")


def test_a_parcel_of_the_greatest_length_has_few_enough_pieces_and_short_enough_ones():
    chunk = found("flwr.common.constant:FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE")
    assert LARGEST // chunk + 1 + 5 <= MOST_OBJECTS, changed("the length of a piece", "dealings", "the number of pieces")
    assert chunk + 4096 <= LONGEST_PIECE, changed("the length of a piece", "dealings", "its limit")
    assert LONGEST_PIECE < guard.LARGE and MOST_OBJECTS * 80 < guard.SMALL


def test_a_reply_in_pieces_is_cut_as_expected():
    from flwr.supercore.inflatable.inflatable_object import get_object_tree
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    message = Message(pack(Parcel("deliver", "run", bytes(6 << 20))), 7, "query.mailbox")
    assert len(pieces_of(get_object_tree(message))) == 7  # message, records, head, body, array and two chunks


def test_fleet_has_no_call_that_could_fetch_code():
    """Flower's client has; ours neither inherits nor calls them."""
    from flwr.supernode.fleet_http_client import FleetHttpClient

    assert Fleet.__mro__ == (Fleet, object)
    source = inspect.getsource(importlib.import_module("federation.carriage.fleet")) + inspect.getsource(flower)
    for name in ("GetFab", "GetRun", "RegisterNode", "UnregisterNode"):
        assert hasattr(FleetHttpClient, name), changed(f"{FLEET}.{name}", "fleet", "not being called")
        assert name not in source
    assert not [name for name in dir(Fleet) if "fab" in name.lower() or "run" in name.lower()]


@pytest.mark.parametrize("length", [0, 1 << 10, 6 << 20])
def test_a_round_trip_over_tls(tmp_path, length):
    with a_port(tmp_path) as port:
        node = port.enrol("bank")
        fleet = port.fleet("bank")
        assert fleet.activate() == node and fleet.heartbeat() and port.link.online() == {node}
        payload = bytes(range(256)) * (length // 256)
        with port.link.line() as line:
            sent = line.push_messages([a_message(node, payload)])
            message = fleet.receive()
            assert unpack(message.content, "coordinator") == Parcel("deliver", "run", payload)
            fleet.reply(Message(pack(Parcel("answer", "run", payload[::-1])), reply_to=message), 0.1)
            (reply,) = replies(line, sent)
            assert unpack(reply.content, "bank") == Parcel("answer", "run", payload[::-1])
            assert reply.metadata.reply_to_message_id == sent[0] and reply.metadata.src_node_id == node
            assert len(port.link.state.object_store) == 0, "nothing of an exchange stays"
        fleet.deactivate()
        assert port.link.online() == set()
        fleet.close()


def test_flowers_own_way_to_ask_waits_for_the_replies_and_no_longer_than_it_is_told(tmp_path):
    with a_port(tmp_path) as port, port.link.line() as line:
        node, fleet = port.enrol("bank"), port.fleet("bank")
        fleet.activate()
        assert line.send_and_receive([a_message(node, b"nobody answers")], timeout=0.1) == []
        assert unpack(fleet.receive().content, "coordinator").payload == b"nobody answers"

        def answer() -> None:
            message = fleet.receive()
            fleet.reply(Message(pack(Parcel("answer", "run", b"heard")), reply_to=message), 0.0)

        answering = threading.Thread(target=answer)
        answering.start()
        (reply,) = line.send_and_receive([a_message(node, b"who hears")])
        answering.join()
        assert unpack(reply.content, "bank").payload == b"heard"
        fleet.close()


def test_an_error_comes_back_as_one(tmp_path):
    with a_port(tmp_path) as port, port.link.line() as line:
        node, fleet = port.enrol("bank"), port.fleet("bank")
        fleet.activate()
        post = GridPost(line, {"bank": node})
        post.send({"bank": Parcel("deliver", "run", b"")})
        fleet.reply(failed(fleet.receive()), 0.0)
        (lost,) = post.collect().values()
        assert "process ended" in str(lost)
        fleet.close()


def test_a_node_is_offline_three_missed_heartbeats_after_its_last_sign():
    assert HEARTBEAT == 10


def test_what_a_killed_process_left_is_gone_with_the_next_start_and_the_nodes_are_not(tmp_path):
    link = flower.SuperLink(str(tmp_path / "superlink.db"))
    key = a_key().public_key()
    node = link.register(key, "bank")
    line = link.line()
    first = line.__enter__()
    link.state.activate_node(node, 30)
    first.push_messages([a_message(node, bytes(6 << 20))])
    assert len(link.state.object_store) == 7 and link.state.num_message_ins() == 1
    again = flower.SuperLink(str(tmp_path / "superlink.db"))  # the first was killed
    assert again.register(key, "bank") == node
    assert len(again.state.object_store) == 0 and again.state.num_message_ins() == 0
    assert again.state.get_message_ins(node, limit=1) == []
