"""Consent withdrawn, and the process killed: a stage keeps the answer that it began with, or the run takes no other course."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federation.kernel.envelope import Envelope
from federation.kernel.errors import LocalError
from federation.kernel.participant import Participant
from federation.models.training import Coordinator
from tests.mortal import Killed, MortalJournal
from tests.post import Post
from tests.withdrawing import ROWS, Consent, small, withdrawn


@pytest.mark.parametrize(("party", "number"), [("bank", 18), pytest.param("platform", 17, marks=pytest.mark.slow)])
def test_killed_before_every_batch_the_stage_keeps_the_answer_that_it_began_with(party: str, number: int) -> None:
    """A withdrawal in the midst of a stage, and a restart in the same stage: the same bytes as if the process had lived."""
    _, alive = withdrawn("logistic", party, number)
    _, stormy = withdrawn("logistic", party, number, killed=lambda name, _number: name == party)
    assert stormy.finished, stormy.failures
    assert [e.header() for e in stormy.post.passed] == [e.header() for e in alive.post.passed]
    plain = [[(e.header(), e.body) for e in p.post.passed if not e.kind.startswith("encrypted_linear/")] for p in (stormy, alive)]
    assert plain[0] == plain[1]
    assert stormy.state("bank").model_hash == alive.state("bank").model_hash
    assert stormy.parties[party].withdrawals == alive.parties[party].withdrawals


@pytest.mark.parametrize("keeps", [True, False])
def test_killed_before_a_stages_beginning_is_stored_its_answer_stays_and_control_kept_nowhere_it_does_not(
    monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """Rows withdraw between the death and the restart: noise that was drawn for the stage's rows is of these rows still."""
    case = small("logistic")
    consent, same = Consent(case.tables["bank"].rows), list[bool]()
    journal = MortalJournal(lambda _number: consent.asked > 0 and not journal.unsent)
    if not keeps:
        effect = Participant.effect
        monkeypatch.setattr(
            Participant, "effect", lambda self, label, make: make() if label.endswith("withdrawn") else effect(self, label, make)
        )

    def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        try:
            return post.parties[name].deliver(number, batch)
        except Killed:
            consent.gone = np.isin(np.arange(consent.rows), ROWS)
            post.parties[name] = post.build(name)
            reply = post.parties[name].deliver(number, batch)
            same.append(reply == journal.unsent)
            return reply

    programs: dict[str, Any] = {name: (lambda name=name: case.program(name)) for name in case.tables}
    programs["coordinator"] = lambda: Coordinator(case.manifest)
    post = Post(case.manifest, programs, delivers=delivers, more={"bank": {"withdrawn": consent}}, journals={"bank": journal})
    parties = post.play()
    assert all(party.finished for party in parties.values())
    assert same == [keeps]
    stages = [entry.stage for entry in parties["bank"].withdrawals]
    print(f"killed where the program begins; withdrawn from {stages} on")
    assert (stages == ["place"]) is not keeps


def test_control_an_answer_taken_anew_at_a_restart_takes_another_course(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Participant._restore

    def hears_again(self: Participant[Any], record: Any) -> None:
        assert self._withdrawn is not None
        answer = self._withdrawn()
        program: Any = self._program
        if answer is not None and answer.any():
            stage = program.stage
            program.stage = lambda state: stage(program.without(state, answer)) if stage(state) else None
        restore(self, record)

    monkeypatch.setattr(Participant, "_restore", hears_again)
    with pytest.raises(LocalError, match="does not replay"):
        withdrawn("logistic", "bank", 18, killed=lambda name, _number: name == "bank")
