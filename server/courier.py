"""The courier: parcels to a run's nodes and back, by whatever post each of them has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from federation.carriage.mailbox import Parcel
from federation.kernel.errors import AbortCode, CreditfedError
from server.post import LostNode, Post

PATIENCE = 3600.0


class Refused(CreditfedError):
    """A node's answer was a refusal; the reason is all that it tells."""

    exit_code = 4


class Stopped(CreditfedError):
    """The coordinator was told to stop the run."""

    exit_code = 4
    default_code = AbortCode.STOPPED


def never() -> bool:
    """Nobody stops a simulation's run but by its process."""
    return False


class Courier:
    """Exchanges parcels with named nodes. posts: by node; bytes_sent, messages: by node; patience: seconds until a node that has not answered
    is lost; stopped: whether the run shall go on no more.
    """

    def __init__(
        self,
        posts: Mapping[str, Post],
        patience: float = PATIENCE,
        stopped: Callable[[], bool] = never,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._posts, self.patience, self.stopped, self._clock = dict(posts), patience, stopped, clock
        self._distinct: list[Post] = list({id(post): post for post in posts.values()}.values())
        self.bytes_sent = dict.fromkeys(posts, 0)
        self.messages = dict.fromkeys(posts, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the nodes."""
        return tuple(self._posts)

    def count(self, bytes_sent: Mapping[str, int], messages: Mapping[str, int]) -> None:
        """Add what an earlier process had counted."""
        for name in self._posts:
            self.bytes_sent[name] += bytes_sent.get(name, 0)
            self.messages[name] += messages.get(name, 0)

    def exchange(self, parcels: Mapping[str, Parcel]) -> dict[str, Parcel]:
        """One parcel to each named node, all at once; their answers by name. Raises LostNode, Refused or Stopped."""
        answers, lost = self.ask(parcels)
        for error in lost.values():
            raise error
        return answers

    def ask(self, parcels: Mapping[str, Parcel]) -> tuple[dict[str, Parcel], dict[str, LostNode]]:
        """As `exchange`, with those who did not answer beside the answers. Raises Refused or Stopped."""
        answers = self.hear(parcels)
        lost = {name: answer for name, answer in answers.items() if isinstance(answer, LostNode)}
        heard = {name: answer for name, answer in answers.items() if isinstance(answer, Parcel)}
        for name, answer in heard.items():
            if answer.operation == "refused":
                raise refusal(name, answer)
        return {name: heard[name] for name in parcels if name in heard}, lost

    def hear(self, parcels: Mapping[str, Parcel]) -> dict[str, Parcel | LostNode]:
        """As `ask`, with refusals among the answers. Raises Stopped."""
        for post in self._distinct:
            post.forget()
            mine = {name: parcel for name, parcel in parcels.items() if self._posts[name] is post}
            if mine:
                post.send(mine)
        answers: dict[str, Parcel | LostNode] = {}
        end = self._clock() + self.patience
        while True:
            for post in self._distinct:
                answers |= {name: self._counted(name, answer) for name, answer in post.collect().items()}
            if len(answers) == len(parcels):
                return answers
            if self.stopped():
                raise Stopped("run", "stopped by the coordinator's operator", "Submit it again to run it anew.")
            if self._clock() >= end:
                action = "Check that the node runs and reaches the coordinator."
                silent = [name for name in parcels if name not in answers]
                return answers | {name: LostNode(name, f"no answer within {self.patience:g} s", action) for name in silent}
            for post in self._distinct:
                post.wait()

    def _counted(self, name: str, answer: Parcel | LostNode) -> Parcel | LostNode:
        if isinstance(answer, Parcel):
            self.messages[name] += 1
            self.bytes_sent[name] += len(answer.payload)
        return answer


def refusal(name: str, answer: Parcel) -> Refused:
    """A node's refusal as an error."""
    code = next((code for code in AbortCode if code.value.encode() == answer.payload), AbortCode.INTERNAL)
    return Refused(name, f"refused (reason: {code.value})", "Ask that institution: its own log has the details.", code)
