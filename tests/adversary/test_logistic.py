"""What each party of a logistic fit can work out from what it was sent: the label party columns, a partner labels, the coordinator nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest, SampleSettings
from federation.kernel.role import Run
from federation.masked_sum import partial_scores
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import MaskedInput
from federation.masked_sum.partial_scores import MaskedScores
from federation.models import logistic, sides, training
from federation.models.course import begin
from federation.models.prepare import Prepared
from federation.models.scores import Consortium
from federation.models.training import FeatureParty, LabelParty, Local
from privacy.attacks import logistic as attack
from tests.masked_sum_scene import uniform
from tests.pooled_case import Firms, Played, PooledCase, Program, changed

Reals = NDArray[np.float64]
EXACTLY = 1e-6
EVERYONE_TRAINS = {"sample": SampleSettings(holdout=0.0)}


class Watched:
    """A run in which every institution keeps what it saw."""

    def __init__(self, firms: Firms, case: dict[str, Any] | None = None, tables: Any = None) -> None:
        self.programs: dict[str, Program] = {}
        self.played: Played = PooledCase(tables or firms.draw(), build=self.build, **(case or {})).play()
        assert self.played.finished, self.played.failures

    def build(self, manifest: Manifest, me: str, local: Local) -> Program:
        kind = attack.WatchingLabelParty if manifest.party(me).label else attack.WatchingFeatureParty
        return self.programs.setdefault(me, kind(manifest, me, local))

    def kept(self, name: str) -> list[logistic.Fit]:
        program = self.programs[name]
        assert isinstance(program, attack.WatchingLabelParty | attack.WatchingFeatureParty)
        return program.kept

    def ready(self, name: str) -> Prepared:
        return self.programs[name].prepared(self.played.state(name))

    def columns(self, name: str) -> Reals:
        """A partner's design at the bank's rows: what the bank would like to have."""
        block = self.ready(name).block
        whole = np.repeat(block.absent[None, :], block.universe, axis=0)
        whole[block.positions] = block.x
        return np.asarray(whole[self.ready("bank").block.positions])

    def view(self) -> Reals:
        """The summed score vectors that the bank saw in the fit."""
        bank = self.ready("bank")
        assert bank.labels is not None
        return attack.score_changes(bank.block, self.kept("bank"), begin(bank.block, bank.labels))

    def own_scores(self, name: str) -> Reals:
        """One partner's part of them: what a bank without masked sums would see."""
        thetas = [np.zeros(len(self.kept(name)[0].theta)), *(fit.theta for fit in self.kept(name))]
        moves = [after - before for before, after in pairwise(thetas)]
        return np.column_stack([self.columns(name) @ (move / np.linalg.norm(move)) for move in moves if move.any()])


# -- the label party reconstructs features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("partners", [1, 2])
def test_with_as_many_score_vectors_as_partner_columns_the_bank_holds_them_up_to_a_linear_map(partners: int) -> None:
    """Not a defence: this is what the contract says, measured."""
    run = Watched(Firms(rows=800, columns=3, partners=partners, seed=41))
    view, columns = run.view(), np.hstack([run.columns(name) for name in run.programs if name != "bank"])
    share = attack.captured(view, columns)
    print(f"{partners} partners, {columns.shape[1]} columns, {view.shape[1]} score vectors: at least {share.min():.9f} of each column")
    assert view.shape[1] >= columns.shape[1]
    assert share.min() >= 1 - EXACTLY


def test_with_fewer_score_vectors_than_partner_columns_it_does_not() -> None:
    run = Watched(Firms(rows=800, columns=10, partners=2, strength=0.3, correlation=0.0, seed=42))
    view, columns = run.view(), np.hstack([run.columns("platform"), run.columns("tax")])
    share = attack.captured(view, columns)
    print(
        f"20 columns, {view.shape[1]} score vectors: {share.min():.2f} to {share.max():.2f} of a column's variance, {share.mean():.2f} on average"
    )
    assert view.shape[1] < columns.shape[1]
    assert share.max() < 0.99
    assert share.mean() < 0.9


def test_the_cap_on_score_reveals_keeps_it_so() -> None:
    case = {"privacy": {"max_score_reveals": 5}}
    run = Watched(Firms(rows=800, columns=4, partners=2, seed=41), case)
    view = run.view()
    assert view.shape[1] == 4  # the fifth are the final scores
    assert attack.captured(view, np.hstack([run.columns("platform"), run.columns("tax")])).max() < 0.99


def test_the_sum_does_not_part_two_partners_and_control_scores_of_each_partner_do() -> None:
    run = Watched(Firms(rows=800, columns=8, partners=2, correlation=0.0, strength=0.3, seed=43))
    summed, own = attack.captured(run.view(), run.columns("platform")), attack.captured(run.own_scores("platform"), run.columns("platform"))
    print(
        f"16 columns, {run.view().shape[1]} vectors: sums give {summed.max():.2f} of a platform column at most, its own scores {own.min():.6f}"
    )
    assert summed.max() < 0.99
    assert own.min() >= 1 - EXACTLY


def test_a_single_partners_scores_are_the_banks_which_the_manifest_must_accept() -> None:
    run = Watched(Firms(rows=400, columns=2, partners=1, seed=44))
    view, own = run.view(), run.own_scores("platform")
    count = min(5, view.shape[1], own.shape[1])
    likeness = [abs(float(np.corrcoef(view[:, k], own[:, k])[0, 1])) for k in range(count)]
    assert min(likeness) > 1 - EXACTLY


@pytest.mark.parametrize("partners", [1, 2])
def test_the_bank_sees_which_of_its_firms_no_partner_knows(partners: int) -> None:
    """Said in the contract: alignment hides coverage, scores do not."""
    run = Watched(Firms(rows=400, columns=3, partners=partners, present=0.6, seed=52))
    bank, others = run.played.case.tables["bank"], [run.played.case.tables[name] for name in run.programs if name != "bank"]
    known = {key for other in others for key in other.keys}
    truth = np.array([key not in known for key in bank.keys])
    found = attack.unknown_rows(run.view())
    print(f"{partners} partners: {int((found & truth).sum())} of {int(truth.sum())} firms that no partner knows are seen to be so")
    assert np.array_equal(found, truth)


# -- a feature party infers labels ------------------------------------------------------------------------------------------------


def labels_of(run: Watched, name: str) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Which of a partner's rows train, and their labels: the truth that the attack is measured by."""
    rows = run.played.joined
    truth = {key: int(label) for key, label, train in zip(rows.key, rows.label, rows.train, strict=True) if train}
    keys = run.played.case.tables[name].keys
    places = np.array([i for i, key in enumerate(keys) if key in truth], np.int64)
    return places, np.array([truth[keys[i]] for i in places], np.int8)


def noise(firms: Firms, columns: int) -> Any:
    """The tables, the platform's columns replaced by as many that say nothing of the label."""
    tables, rng = firms.draw(), np.random.default_rng(firms.seed)
    rows = tables["platform"].rows
    bare = changed(tables["platform"])
    object.__setattr__(bare, "columns", {})
    return tables | {"platform": changed(bare, **{f"noise{j:03d}": rng.standard_normal(rows) for j in range(columns)})}


def inferred(run: Watched, name: str) -> float:
    """The AUC of the labels that a partner infers from all that it was sent of them: its first gradient."""
    block, first = run.ready(name).block, run.kept(name)[0]
    assert first.sums is not None
    places, labels = labels_of(run, name)
    return float(roc_auc_score(labels, attack.label_scores(block.x, first.sums)[places]))


def test_a_partner_with_uninformative_columns_infers_no_labels_and_control_plain_residuals_give_all() -> None:
    firms = Firms(rows=5000, columns=3, seed=45)
    run = Watched(firms, tables=noise(firms, 3))
    found = inferred(run, "platform")
    places, labels = labels_of(run, "platform")
    print(f"uninformative columns: AUC {found:.3f} over {len(labels)} training firms")
    assert abs(found - 0.5) < 0.05
    sent = run.kept("bank")[0].sent  # the control: the residuals as they are before encryption
    assert sent is not None
    bank = dict(zip(run.played.case.tables["bank"].keys, sent.tolist(), strict=True))
    keys = run.played.case.tables["platform"].keys
    assert roc_auc_score(labels, [-bank[keys[i]] for i in places]) == 1.0


def test_informative_columns_rank_no_better_than_a_model_on_them_would() -> None:
    run = Watched(Firms(rows=5000, columns=3, seed=46))
    places, labels = labels_of(run, "platform")
    x = run.ready("platform").block.x[places]
    best = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), labels.astype(float), rcond=None)[0]
    found, own = inferred(run, "platform"), float(roc_auc_score(labels, best[0] + x @ best[1:]))
    print(f"informative columns: AUC {found:.3f}; a linear fit of the labels themselves on them {own:.3f}")
    assert found <= own + 0.01


def test_later_gradients_add_nothing_to_what_a_partner_knows_of_the_labels() -> None:
    """X'r of any iteration is X'p less X'y: the labels enter through the same X'y."""
    firms = Firms(rows=5000, columns=3, seed=45)
    run = Watched(firms, tables=noise(firms, 3))
    block, (places, labels) = run.ready("platform").block, labels_of(run, "platform")
    together = np.zeros(len(block.x))
    for fit in run.kept("platform"):
        assert fit.sums is not None
        each = attack.label_scores(block.x, fit.sums)
        together += each / max(1e-12, float(each.std()))
    assert abs(float(roc_auc_score(labels, together[places])) - 0.5) < 0.05


def test_as_many_columns_as_training_firms_give_all_labels_and_a_tenth_gives_few() -> None:
    """Not a defence either: a gradient is one equation for each column, and the contract says so."""
    right = {}
    for columns in (8, 80):
        firms = Firms(rows=80, columns=2, present=1.0, beyond=0, seed=47)
        run = Watched(firms, {"others": EVERYONE_TRAINS, "model": {"max_iterations": 1}}, noise(firms, columns))
        block, first = run.ready("platform").block, run.kept("platform")[0]
        assert first.sums is not None
        encoded = run.played.state("platform").encoded
        assert encoded is not None
        _, labels = labels_of(run, "platform")
        # standardised columns have no constant: the base rate is the one equation more
        x = np.column_stack([block.x, np.ones(len(block.x))])
        guess = attack.recover_labels(x, np.append(first.sums, 0.0), encoded.base)
        right[columns] = int((guess == labels).sum())
        base = int(max(labels.sum(), len(labels) - labels.sum()))
    print(f"80 firms: {right[8]} labels right from 8 columns, {right[80]} from 80; guessing all alike {base}")
    assert right[80] == 80
    assert right[8] <= base + 8


# -- a feature party that crafts its columns --------------------------------------------------------------------------------------


def crafted(answers: int, max_answers: int) -> tuple[Played, attack.Crafting, int]:
    firms = Firms(rows=500, columns=answers, present=1.0, beyond=0, seed=48)
    made: dict[str, attack.Crafting] = {}

    def build(manifest: Manifest, me: str, local: Local) -> Program:
        if me != "platform":
            return LabelParty(manifest, me, local) if manifest.party(me).label else FeatureParty(manifest, me, local)
        width = attack.labels_per_answer(500)
        return made.setdefault(me, attack.Crafting(manifest, me, local, targets=np.arange(answers * width)))

    case = PooledCase(firms.draw(), privacy={"max_answers": max_answers}, others=EVERYONE_TRAINS, build=build)
    return case.play(), made["platform"], attack.labels_per_answer(500)


def test_a_crafted_column_reads_tens_of_labels_for_one_answer() -> None:
    """What the cap on answers is for; see the contract."""
    played, platform, width = crafted(answers=4, max_answers=20_000)
    assert played.finished, played.failures  # nobody notices
    assert played.reason == ""
    encoded = played.state("platform").encoded
    assert encoded is not None
    read = np.concatenate([attack.read_labels(total, encoded.base, 500, width) for total in platform.read[0].tolist()])
    label = played.case.tables["bank"].label
    assert label is not None
    print(f"crafted columns: {int((read == label[: len(read)]).sum())} of {len(read)} labels read from 4 answers, {width} each")
    assert width == 31
    assert np.array_equal(read, label[: 4 * width])


def test_answers_beyond_the_cap_are_refused_before_a_residual_is_sent() -> None:
    played, platform, _ = crafted(answers=4, max_answers=3)
    assert isinstance(played.failures["bank"], PeerError)
    assert "max_answers" in str(played.failures["bank"])
    assert platform.read == []
    assert not any(envelope.protocol == "logistic" for envelope in played.post.passed)


def test_the_labels_that_an_answer_can_hold_by_size_of_the_run() -> None:
    assert [attack.labels_per_answer(n) for n in (500, 10_000, 100_000, 20_000_000)] == [31, 36, 39, 47]


# -- a label party that asks for more ---------------------------------------------------------------------------------------------


def greedy(manifest: Manifest, me: str, local: Local) -> Program:
    return attack.Greedy(manifest, me, local) if manifest.party(me).label else FeatureParty(manifest, me, local)


def seen(played: Played) -> int:
    return sum(envelope.kind == "partial_scores/total" for envelope in played.post.passed)


def test_feature_parties_themselves_refuse_score_vectors_beyond_the_cap() -> None:
    played = PooledCase(Firms(rows=300, columns=2, seed=49).draw(), privacy={"max_score_reveals": 15}, build=greedy).play()
    refusals = [failure for failure in played.failures.values() if isinstance(failure, PolicyRefusal)]
    assert len(played.failures) == 4  # the run is over for everyone
    assert refusals
    assert all(refusal.code == AbortCode.CAP and "max_score_reveals" in str(refusal) for refusal in refusals)
    assert seen(played) == 15


@pytest.mark.parametrize("careless", ["platform", "tax"])
def test_one_feature_party_that_counts_is_enough(careless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = sides.require_reveals
    for module in (sides, training):
        monkeypatch.setattr(module, "require_reveals", lambda me, *rest: None if me == careless else counted(me, *rest))
    played = PooledCase(Firms(rows=300, columns=2, seed=49).draw(), privacy={"max_score_reveals": 15}, build=greedy).play()
    assert isinstance(played.failures["tax" if careless == "platform" else "platform"], PolicyRefusal)
    assert seen(played) == 15


def test_control_feature_parties_that_do_not_count_show_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sides, training):
        monkeypatch.setattr(module, "require_reveals", lambda *_: None)
    played = PooledCase(Firms(rows=300, columns=2, seed=49).draw(), privacy={"max_score_reveals": 15}, build=greedy).play()
    assert played.finished, played.failures
    assert seen(played) == 31


# -- the coordinator --------------------------------------------------------------------------------------------------------------


def words_at_coordinator(played: Played, partner: str) -> list[NDArray[np.uint64]]:
    """The score vectors that the coordinator received of one partner, in order, without the extras."""
    out = []
    for envelope in played.post.passed:
        if envelope.kind == MaskedScores.kind() and envelope.sender == partner:
            message = decode(envelope.body, MaskedScores, partner, len(envelope.body))
            out.append(np.frombuffer(message.scores.data, "<u8"))
    return out


def true_scores(run: Watched, partner: str) -> Reals:
    """A partner's final scores over the universe."""
    ready, fit = run.ready(partner), run.played.fit(partner)
    assert ready.held is not None
    return ready.held.spread(ready.exact @ fit.theta, float(ready.block.absent @ fit.theta))


def unmasked(run: Run, peer: str, label_party: str, width: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return np.zeros(width, np.uint64), np.zeros(width, np.uint64)


def test_what_the_coordinator_receives_is_uniform_and_unlike_any_score() -> None:
    run = Watched(Firms(rows=3000, columns=2, seed=50))
    for partner in ("platform", "tax"):
        words, truth = words_at_coordinator(run.played, partner), true_scores(run, partner)
        universe = len(truth)
        assert uniform(np.concatenate(words)) > 1e-4
        for each in words:
            likeness = np.corrcoef(each[:universe].view(np.int64).astype(float), truth)[0, 1]
            assert abs(likeness) < 5 / np.sqrt(universe)
    inputs = [
        np.frombuffer(decode(e.body, MaskedInput, e.sender, len(e.body)).vector.data, "<u8")
        for e in run.played.post.passed
        if e.kind == MaskedInput.kind()
    ]
    assert uniform(np.concatenate(inputs)) > 1e-4


def test_control_without_masks_the_coordinator_reads_every_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_scores, "_masks", unmasked)
    run = Watched(Firms(rows=300, columns=2, seed=50))
    grid: FixedPoint = Consortium.of(run.played.case.manifest).scores
    for partner in ("platform", "tax"):
        truth = true_scores(run, partner)
        last = words_at_coordinator(run.played, partner)[-1][: len(truth)]
        assert np.array_equal(last.view(np.int64), grid.encode(truth))


def test_the_coordinator_is_sent_these_kinds_and_no_other() -> None:
    run = Watched(Firms(rows=300, columns=2, seed=51))
    received = {envelope.kind for envelope in run.played.post.passed if envelope.recipient == "coordinator"}
    assert received == {
        "session/hello", "training/placed", "masked_sum/input", "partial_scores/masked", "logistic/next", "training/share-hash",
    }  # fmt: skip
    for envelope in run.played.post.passed:
        if envelope.kind == "logistic/next":
            following = decode(envelope.body, logistic.Next, envelope.sender)
            assert following.__struct_fields__ == ("mode", "pairs")
            assert 0 <= following.pairs <= 20


def test_an_altered_verdict_ends_the_run() -> None:
    """A coordinator cannot move a step: verdicts are sealed between institutions."""

    def twist(envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, body=envelope.body[::-1]) if envelope.kind == "logistic/verdict" else envelope

    played = PooledCase(Firms(rows=300, columns=2, seed=51).draw(), tamper=twist).play()
    assert any(isinstance(played.failures[name], PeerError) for name in ("platform", "tax"))
    assert len(played.failures) == 4
