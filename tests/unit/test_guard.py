"""The guard before a fake of Flower: who is held and for how long, what wakes them, and what becomes of what Flower answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest
from flwr.proto.node_pb2 import Node

from federation.carriage.bells import Bells, Doorbell
from server.guard import FORBIDDEN, LARGE, MIDDLE, PREFIX, ROUTES, SMALL, Guard

NODE = 5
QUESTION = PullMessagesRequest(node=Node(node_id=NODE)).SerializeToString()


def given(identifier: str = "a" * 64, run: int = 3) -> bytes:
    answer = PullMessagesResponse()
    head = answer.messages_list.add().metadata
    head.message_id, head.run_id = identifier, run
    answer.message_object_trees.append(ObjectTree(object_id=identifier))
    return bytes(answer.SerializeToString())


class Flower:
    """A link whose application answers by a script; its last answer is given again."""

    def __init__(self, *script: Any, known: int | None = NODE) -> None:
        self.script, self.bodies, self.known, self.fit = list(script) or [(200, b"")], [], known, True
        self.sent, self.replied, self.activated = Bells(), Doorbell(), []
        self.routes = self._routes

    def signer(self, _: Any) -> int | None:
        return self.known

    def fits(self, _: bytes) -> bool:
        return self.fit

    def noted_activation(self, body: bytes) -> None:
        self.activated.append(body)

    async def _routes(self, _: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Call:
    """One request to a guard."""

    def __init__(
        self, guard: Guard, name: str, *parts: bytes, method: str = "POST", length: int | None = None, prefix: str = PREFIX
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.parts, self.gone = list(parts) or [b""], asyncio.Event()
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        scope = {"type": "http", "path": prefix + name, "method": method, "headers": headers}
        self.task = asyncio.ensure_future(guard(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self.task, 5)
        return self.sent[0]["status"], b"".join(event.get("body", b"") for event in self.sent)


def run(scenario: Callable[[], Any]) -> Any:
    return asyncio.run(scenario())


def guarded(flower: Flower, **options: Any) -> Guard:
    return Guard(flower, **options)  # type: ignore[arg-type]


def answered(flower: Flower, name: str, *parts: bytes, hold: float = 0.05, **options: Any) -> tuple[int, bytes]:
    async def scenario() -> tuple[int, bytes]:
        return await Call(guarded(flower, hold=hold), name, *parts, **options).answer()

    return run(scenario)


# -- holding -----------------------------------------------------------------------------------------------------------------------------------


def test_a_question_without_an_answer_is_held_to_the_end_of_the_hold():
    async def scenario() -> None:
        flower, loop = Flower(), asyncio.get_running_loop()
        started = loop.time()
        assert await Call(guarded(flower, hold=0.3), "pull-messages", QUESTION).answer() == (200, b"")
        assert 0.25 < loop.time() - started < 1 and len(flower.bodies) == 1, "and Flower is not asked again without a reason"

    run(scenario)


def test_a_question_with_an_answer_is_not_held():
    assert answered(Flower((200, given())), "pull-messages", QUESTION, hold=60) == (200, given())


def test_the_bell_of_the_node_wakes_it_and_anothers_does_not():
    async def scenario() -> None:
        flower = Flower((200, b""), (200, given()))
        call = Call(guarded(flower, hold=60), "pull-messages", QUESTION)
        await asyncio.sleep(0.05)
        flower.sent.ring(NODE + 1)
        await asyncio.sleep(0.05)
        assert not call.task.done() and len(flower.bodies) == 1
        flower.sent.ring(NODE)
        assert await call.answer() == (200, given())

    run(scenario)


def test_a_bell_that_rings_while_flower_looks_is_heard():
    async def scenario() -> None:
        flower = Flower((200, b""), (200, given()))
        real = flower.routes

        async def routes(*arguments: Any) -> None:
            await real(*arguments)
            if len(flower.bodies) == 1:
                flower.sent.ring(NODE)  # it had looked already

        flower.routes = routes
        assert await Call(guarded(flower, hold=60), "pull-messages", QUESTION).answer() == (200, given())

    run(scenario)


def test_a_bell_without_a_message_wakes_nobody_for_good():
    async def scenario() -> None:
        flower = Flower()
        call = Call(guarded(flower, hold=0.4), "pull-messages", QUESTION)
        for _ in range(3):
            await asyncio.sleep(0.05)
            flower.sent.ring(NODE)
        assert await call.answer() == (200, b"") and len(flower.bodies) == 4

    run(scenario)


def test_who_hangs_up_is_held_no_longer_and_nothing_more_is_claimed_for_it():
    async def scenario() -> None:
        flower = Flower((200, b""), (200, given()))
        call = Call(guarded(flower, hold=60), "pull-messages", QUESTION)
        await asyncio.sleep(0.05)
        call.gone.set()
        await call.answer()
        flower.sent.ring(NODE)
        assert len(flower.bodies) == 1 and not flower.sent._listeners

    run(scenario)


def test_a_revoked_node_is_let_go_when_its_bell_rings():
    async def scenario() -> None:
        flower = Flower((200, b""), (401, b"{}"))
        call = Call(guarded(flower, hold=60), "pull-messages", QUESTION)
        await asyncio.sleep(0.05)
        flower.sent.ring(NODE)
        assert (await call.answer())[0] == 401

    run(scenario)


def test_nothing_else_is_held():
    assert answered(Flower(), "send-node-heartbeat", b"", hold=60) == (200, b"")


# -- who and what ------------------------------------------------------------------------------------------------------------------------------


def test_nothing_of_a_strangers_request_is_read_or_given_to_flower():
    async def scenario() -> None:
        flower = Flower(known=None)
        for name in ROUTES:
            call = Call(guarded(flower, hold=60), name, b"x", b"y")
            assert await call.answer() == (401, b"") and call.parts == [b"x", b"y"]
            assert (b"connection", b"close") in call.sent[0]["headers"]
        assert not flower.bodies

    run(scenario)


@pytest.mark.parametrize(
    ("name", "status"), [*((name, 403) for name in FORBIDDEN), ("x", 404), ("", 404), ("pull-messages/", 404), ("Pull-Messages", 404)]
)
def test_other_routes_do_not_reach_flower(name, status):
    flower = Flower()
    assert answered(flower, name)[0] == status and not flower.bodies


@pytest.mark.parametrize(("name", "limit"), ROUTES.items())
def test_a_body_over_its_limit_is_read_no_further(name, limit):
    flower = Flower()
    assert answered(flower, name, length=limit + 1)[0] == 413
    assert answered(flower, name, b"x" * limit, b"y")[0] == 413 and not flower.bodies
    assert limit in (SMALL, MIDDLE, LARGE)


def test_a_length_that_is_no_number_is_none():
    async def scenario() -> None:
        guard, sent = guarded(Flower()), []

        async def send(event: Any) -> None:
            sent.append(event["type"] == "http.response.start" and event["status"])

        scope = {"type": "http", "path": f"{PREFIX}activate-node", "method": "POST", "headers": [(b"content-length", b"-1")]}
        await guard(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
        assert sent[0] == 413

    run(scenario)


def test_a_body_whose_sender_hung_up_does_not_reach_flower():
    async def scenario() -> None:
        flower = Flower()
        call = Call(guarded(flower), "deactivate-node", b"part")
        call.parts = []
        call.gone.set()
        await call.task
        assert not call.sent and not flower.bodies

    run(scenario)


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_it_may_take(monkeypatch):
    import server.guard

    monkeypatch.setattr(server.guard, "UPLOAD", 0.1)

    async def scenario() -> None:
        call = Call(guarded(Flower()), "push-object")
        call.parts = []
        assert (await call.answer())[0] == 408

    run(scenario)


def test_a_web_socket_is_closed():
    async def scenario() -> None:
        sent: list[Any] = []

        async def send(event: Any) -> None:
            sent.append(event)

        await guarded(Flower())({"type": "websocket", "path": "/"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
        assert [event["type"] for event in sent] == ["websocket.close"]

    run(scenario)


# -- what becomes of Flower's answer -------------------------------------------------------------------------------------------------------------


def test_an_activation_is_noted_and_a_refused_one_is_not():
    flower = Flower((200, b"\x08\x05"))
    answered(flower, "activate-node")
    assert flower.activated == [b"\x08\x05"]
    refused = Flower((412, b"{}"))
    answered(refused, "activate-node")
    assert refused.activated == []


@pytest.mark.parametrize(
    "failure", [ValueError("secret"), KeyError("secret"), RuntimeError("secret"), (500, b"secret"), (503, b"secret")], ids=repr
)
def test_what_fails_within_is_the_servers_fault_and_tells_nothing(failure, caplog):
    """A 500 of Flower's is told as 503: the caller may try again. What is the caller's fault was refused before Flower saw it."""
    caplog.set_level("DEBUG")
    assert answered(Flower(failure), "send-node-heartbeat") == (503, b"") and "secret" not in caplog.text


def test_a_state_that_cannot_be_read_is_the_servers_fault_and_tells_nothing(caplog):
    caplog.set_level("DEBUG")
    flower = Flower()

    def signer(_: Any) -> int:
        raise RuntimeError("secret")

    flower.signer = signer  # type: ignore[method-assign]
    assert answered(flower, "pull-messages") == (503, b"") and "secret" not in caplog.text and not flower.bodies


def test_a_node_that_errs_all_the_time_does_not_fill_the_log(caplog):
    async def scenario() -> None:
        guard = guarded(Flower())
        for _ in range(50):
            assert (await Call(guard, "pull-object", b"\xff").answer())[0] == 400

    run(scenario)
    assert len(caplog.records) == 1 and f"node {NODE}" in caplog.text


def test_control_other_nodes_are_still_told_of(caplog):
    async def scenario() -> None:
        flower = Flower()
        guard = guarded(flower)
        for node in range(50):
            flower.known = node
            await Call(guard, "pull-object", b"\xff").answer()

    run(scenario)
    assert len(caplog.records) == 50


def test_pieces_that_contradict_what_is_there_are_the_callers_fault():
    from flwr.app import Message, RecordDict
    from flwr.common.serde import message_to_proto
    from flwr.proto.fleet_pb2 import PushMessagesRequest
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 3, 1, 1
    question = Message(RecordDict(), NODE, "query.mailbox")
    question.metadata.__dict__["_message_id"] = "a" * 64
    reply = Message(RecordDict(), reply_to=question)
    reply.metadata.__dict__["_message_id"] = "b" * 64
    body = PushMessagesRequest(
        node=Node(node_id=NODE), messages_list=[message_to_proto(reply)], message_object_trees=[ObjectTree(object_id="b" * 64)]
    ).SerializeToString()

    async def scenario(fits: bool) -> int:
        flower = Flower((200, given()), (500, b""))
        flower.fit = fits
        guard = guarded(flower)
        assert (await Call(guard, "pull-messages", QUESTION).answer())[0] == 200
        return (await Call(guard, "push-messages", body).answer())[0]

    assert asyncio.run(scenario(fits=False)) == 409 and asyncio.run(scenario(fits=True)) == 503


def test_a_node_may_fetch_what_it_was_given_and_nothing_else():
    async def scenario() -> None:
        flower = Flower((200, given("a" * 64, 3)), (200, b"piece"))
        guard = guarded(flower)

        def fetch(piece: str, run: int) -> Call:
            return Call(guard, "pull-object", PullObjectRequest(node=Node(node_id=NODE), run_id=run, object_id=piece).SerializeToString())

        assert (await fetch("a" * 64, 3).answer())[0] == 403, "before"
        await Call(guard, "pull-messages", QUESTION).answer()
        assert (await fetch("a" * 64, 3).answer()) == (200, b"piece")
        assert (await fetch("b" * 64, 3).answer())[0] == (await fetch("a" * 64, 4).answer())[0] == 403
        flower.known = NODE + 1
        assert (await fetch("a" * 64, 3).answer())[0] == 403, "another node"

    run(scenario)


def test_a_reply_and_its_pieces_ring_for_the_coordinator():
    flower = Flower()
    before = flower.replied.rung
    answered(flower, "send-node-heartbeat")
    assert flower.replied.rung == before
