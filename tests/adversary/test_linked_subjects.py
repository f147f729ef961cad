"""A row that speaks of a firm and of its owner is used by the consent of both, and an owner's id is nowhere but in the source.

What must not happen: a row in a run without the owner's consent to what is theirs, or without the firm's; a consent of one taken for the
other's; a row that stays in a run from which either has gone; an owner's id in a message, a log, an error or a file.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import clients.consent_commands
import clients.consented
import clients.gate
from clients.consent import audited
from clients.linked import Asks, asks_of
from clients.vault import describe_table, open_table
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError
from privacy.consent.subject import Pseudonyms
from tests.house import NOW, House, refused
from tests.linked_scene import TERMS, consenting, firms_of, linked_house, owner, withdraw
from tests.vault_scene import SALT

BOTH, FIRM, OWNER = range(24), range(24, 36), range(36, 48)
"""Who has consented: firm and owner, the firm alone, the owner alone; of the last twelve nobody."""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = linked_house(tmp_path / "bank", monkeypatch)
    consenting(made, [*BOTH, *FIRM], [*BOTH, *OWNER])
    return made


def admitted(house: House, **changes: Any) -> Any:
    made = house.drafted(**changes)
    house.vote(made.hash)
    house.proposed(made)
    return made


def firms_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule removed: nothing is ever the owner's."""
    for module in (clients.consented, clients.gate):
        monkeypatch.setattr(module, "asks_of", lambda manifest, config: Asks(asks_of(manifest, config).firm, None))


# -- four combinations ------------------------------------------------------------------------------------------------------------------


def test_of_four_combinations_only_the_rows_of_which_both_consent_are_used(house: House) -> None:
    assert firms_of(house, admitted(house)) == set(BOTH)


def test_control_without_the_rule_the_firms_consent_alone_is_enough(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    firms_alone(monkeypatch)
    assert firms_of(house, admitted(house)) == {*BOTH, *FIRM}


def test_where_nothing_of_the_owner_is_used_the_owner_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch, exclude=["age"], classes={}, levels={})
    consenting(house, [*BOTH, *FIRM], [*BOTH, *OWNER])
    assert firms_of(house, admitted(house)) == {*BOTH, *FIRM}


@pytest.mark.parametrize(
    ("how", "theirs"),
    [
        ({"classes": {"age": "C3"}}, {"age"}), ({"classes": {}, "owner_columns": ("age",)}, {"age"}), ({"classes": {}}, None),
        ({"owner_columns": ("turnover", "label")}, {"age", "turnover", "label"}), ({"classes": {"label": "C2"}}, {"label"}),
    ],
)  # fmt: skip
def test_a_column_is_the_owners_by_its_class_or_by_name(how: dict[str, Any], theirs: set[str] | None, house: House) -> None:
    config = msgspec.structs.replace(house.node.config, **how)
    mine = msgspec.structs.replace(house.drafted().parties[0], columns=describe_table(config).columns)
    asks = asks_of(house.drafted(parties=(mine,)), config)
    assert theirs == (None if asks.owner is None else {name for name, _ in asks.owner.columns})
    assert {name for name, _ in asks.firm.columns} == {"age", "turnover", "label"} - (theirs or set())


def test_each_is_asked_for_what_is_theirs_alone(house: House) -> None:
    asks = asks_of(house.drafted(), house.node.config)
    assert asks.owner is not None
    assert (set(asks.firm.columns), set(asks.owner.columns)) == ({("turnover", 3), ("label", 3)}, {("age", 4)})
    assert asks.firm.recipients == asks.owner.recipients == ("platform", "tax")


def test_neither_can_consent_to_what_is_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firm's form that names the owner's column, and an owner's that names the firm's: each is no consent of the other."""
    house = linked_house(tmp_path / "bank", monkeypatch)
    consenting(house, range(40), range(20))
    consenting(house, [], range(20, 40), TERMS.replace(",4,", ",3,"))  # up to level 3, and age is of level 4
    assert firms_of(house, admitted(house)) == set(range(20))


@pytest.mark.parametrize(
    "terms", [TERMS.replace("credit", "research"), TERMS.replace(";tax", ""), TERMS.replace("2026-12-31", "2026-04-30")]
)
def test_an_owners_consent_is_for_this_purpose_these_recipients_and_this_day(
    terms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch)
    consenting(house, range(40), range(20))
    consenting(house, [], range(20, 40), terms)
    assert firms_of(house, admitted(house)) == set(range(20))


def test_an_id_of_both_kinds_is_two_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where owners have numbers of the bank's own, firm7's consent is not that of the owner who is also called firm7."""
    house = linked_house(tmp_path / "bank", monkeypatch)
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.assign(owner_id=[f"firm{i}" for i in range(len(table))]).to_csv(source, index=False)
    consenting(house, range(60), [])
    made = house.drafted()
    house.vote(made.hash)
    assert refused(house, made) is AbortCode.COHORT
    key = house.node.home.key("consent")
    assert Pseudonyms(key).of(["firm7"]) != Pseudonyms(key).of(["firm7"], "owner")


def test_a_row_without_an_owner_is_not_used(house: House) -> None:
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.loc[[3, 4, 5], "owner_id"] = ["", " ", "\u200b"]
    table.to_csv(source, index=False)
    assert firms_of(house, admitted(house)) == set(BOTH) - {3, 4, 5}


def test_one_owner_of_many_firms_is_one_person_to_the_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch)
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.assign(owner_id=[owner(i % 6) for i in range(len(table))]).to_csv(source, index=False)
    consenting(house, range(60), range(6))
    made = house.drafted()
    house.vote(made.hash)
    assert refused(house, made) is AbortCode.COHORT, "sixty firms, and six persons"


# -- who goes meanwhile -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "facts"), [("firm3", ("withdrawn", 1)), (owner(3), ("owners_withdrawn", 1))], ids=["firm", "owner"])
def test_who_withdraws_in_mid_run_takes_the_row_out(gone: str, facts: tuple[str, int], house: House) -> None:
    made = admitted(house)
    house.open(made)
    house.hello()
    table = house.node.table(made)
    assert house.node.gate.consents.gone(made, table) is None
    withdraw(house, gone)
    house.restart()
    mask = house.node.gate.consents.gone(made, house.node.table(made))
    assert mask is not None
    assert [table.firms[row] for row in np.flatnonzero(mask)] == ["firm3"]
    told = [entry.facts for entry in house.node.gate.log.entries() if entry.facts.get("change") == "gone meanwhile"]
    assert told[-1][facts[0]] == facts[1]


def test_control_without_the_rule_an_owner_who_withdraws_stays_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    firms_alone(monkeypatch)
    made = admitted(house)
    house.open(made)
    withdraw(house, owner(3))
    assert house.node.gate.consents.gone(made, house.node.table(made)) is None


def test_an_owner_of_two_firms_takes_both_rows_out_and_a_consent_that_runs_out_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch)
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.assign(owner_id=[owner(i // 2) for i in range(len(table))]).to_csv(source, index=False)
    consenting(house, range(60), range(1, 20))
    consenting(house, [], range(20, 30), TERMS.replace("2026-12-31", "2026-05-01"))
    made = admitted(house)
    house.open(made)
    rows = house.node.table(made)
    assert {int(firm[4:]) for firm in rows.firms} == set(range(2, 60))
    withdraw(house, owner(4))
    house.now = "2026-05-03T00:00:00Z"
    mask = house.node.gate.consents.gone(made, rows)
    assert mask is not None
    assert {rows.firms[row] for row in np.flatnonzero(mask)} == {"firm8", "firm9", *(f"firm{i}" for i in range(40, 60))}


def test_a_withdrawal_before_the_opening_needs_the_approval_again(house: House) -> None:
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    withdraw(house, owner(3))
    with pytest.raises(CreditfedError, match="not those that this run was approved for"):
        house.open(made, signed)
    house.open(made)
    assert firms_of(house, made) == set(BOTH) - {3}


# -- the vault --------------------------------------------------------------------------------------------------------------------------


def test_the_owners_id_is_in_the_rows_commitment_and_no_feature(house: House) -> None:
    made = house.drafted()
    assert [column.name for column in made.parties[0].columns] == ["turnover", "age"]
    before = open_table(house.node.config, made, SALT)
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.loc[3, "owner_id"] = owner(999)
    table.to_csv(source, index=False)
    after = open_table(house.node.config, made, SALT)
    assert (before.keys, before.owners == after.owners, before.commitment == after.commitment) == (after.keys, False, False)
    spelled = table.assign(owner_id=[text.lower() for text in table["owner_id"]])
    spelled.sample(frac=1, random_state=1).to_csv(source, index=False)
    again = open_table(house.node.config, made, SALT)
    assert (again.owners, again.commitment) == (after.owners, after.commitment), "one spelling, whatever the file's order"
    assert owner(999) not in repr(after) and owner(999).lower() not in repr(after)
    assert after.kept(np.arange(after.rows) == 3).owners == (after.owners[3],)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"owner": "boss"}, "owner column"), ({"owner": "id"}, "one column is named for two"),
        ({"include": ["owner_id", "age"]}, "cannot be a feature"), ({"owner_columns": ["boss"]}, "owner_columns column"),
    ],
)  # fmt: skip
def test_an_owner_that_is_no_column_or_another_one_is_refused(
    settings: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch, **settings)
    with pytest.raises(DataError, match=said):
        house.node.vault.facts()


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"owner": None, "owner_columns": ["age"]}, "no column names the owner"), ({"legal_basis": "agency", "through": "agency-a", "label": None}, "firms alone")],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(settings: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"owner": "owner_id", "source": "bank.csv", "name": "bank", "role": "platform"} | settings
    with pytest.raises(ConfigurationError, match=said):
        clients.gate.PartyConfig.from_dict({key: value for key, value in kept.items() if value is not None}, tmp_path)


def test_a_column_called_owner_is_no_feature_where_it_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    source = house.root / "bank.csv"
    table = pd.read_csv(source)
    table.assign(owner_id=[owner(i % 4) for i in range(len(table))]).to_csv(source, index=False)
    house.restart()
    facts = house.node.vault.facts()
    assert [column.name for column in facts.columns] == ["turnover", "age"] and any("'owner_id'" in note for note in facts.notes)


# -- an owner's id is nowhere -----------------------------------------------------------------------------------------------------------


def spellings(number: int) -> set[bytes]:
    return {owner(number).encode(), owner(number).lower().encode()}


def test_no_owners_id_is_in_any_answer_log_file_or_error(
    house: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    made = admitted(house)
    house.open(made)
    answers = [house.ask("describe"), made.canonical(), msgspec.json.encode(house.proposed(made))]
    answers += [envelope.body for envelope in house.hello().envelopes]
    withdraw(house, owner(3))
    house.node.gate.consents.gone(made, house.node.table(made))
    errors = []
    for settings in ({"owner": "boss"}, {"types": {"owner_id": "numeric"}, "owner": None}):
        config = msgspec.structs.replace(house.node.config, **settings)
        with pytest.raises(DataError) as caught:
            open_table(config, made, SALT)
        errors.append(repr(caught.value) + str(caught.value))
    source = house.root / "bank.csv"
    kept = source.read_text()
    source.unlink()
    read = capfd.readouterr()
    told = [*answers, caplog.text.encode(), *(text.encode() for text in (*errors, read.out, read.err))]
    told += [path.read_bytes() for path in house.root.rglob("*") if path.is_file()]
    needles = set().union(*(spellings(i) for i in range(60)))
    assert len(told) > 15
    assert [text[:80] for text in told if any(needle in text for needle in needles)] == []
    assert all(any(needle in kept.encode() for needle in spellings(i)) for i in range(60)), "control: the source has every one"
    assert [entry for entry in house.node.gate.log.entries() if entry.kind == "consent"], "and something was said"


def test_an_owner_may_ask_what_the_record_was_used_for(house: House) -> None:
    house.open(admitted(house))
    with closing(audited(house.node.home)) as ledger:
        (of_owner,), (of_firm,) = ledger.explain(owner(3)).uses, ledger.explain("firm3").uses
        assert (of_owner.columns, of_firm.columns) == (("age",), ("turnover", "label"))
        assert not ledger.explain(owner(50)).uses and ledger.kinds(owner(3)) == ("owner",)
        ledger.request_erasure(owner(3), NOW)
        assert not ledger.permitted([owner(3)], "decide", [("age", 4)], ["tax"], NOW, "owner").any()
        assert ledger.permitted(["firm3"], "decide", [("turnover", 3)], ["tax"], NOW).all()


def test_who_withdraws_by_a_name_withdraws_as_whoever_is_so_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who does not say which is safe: both end. Said, one alone does."""
    house = linked_house(tmp_path / "bank", monkeypatch)
    consenting(house, [1, 2], [])
    with closing(audited(house.node.home)) as ledger:
        path = tmp_path / "more.csv"
        path.write_text(f"id,subject,purpose,levels,recipients,from,until,evidence\nfirm1,owner,{TERMS},f\nfirm2,owner,{TERMS},f\n")
        clients.consent_commands.import_csv(ledger, path, NOW)
        assert ledger.withdraw(["firm1"], NOW) == ledger.withdraw(["firm2"], NOW, "owner") == 1
        asked = ("decide", [("age", 4)], ["tax"], NOW)
        assert ledger.permitted(["firm1", "firm2"], *asked).tolist() == [False, True]
        assert not ledger.permitted(["firm1", "firm2"], *asked, "owner").any()


@pytest.mark.parametrize("word", ["Owner", "person", "firm;owner"])
def test_a_subject_of_an_unknown_kind_is_refused_by_its_rule(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = linked_house(tmp_path / "bank", monkeypatch)
    path = tmp_path / "bad.csv"
    path.write_text(f"id,subject,purpose,levels,recipients,from,until,evidence\n{owner(1)},{word},{TERMS},f\n")
    with closing(audited(house.node.home)) as ledger, pytest.raises(DataError, match="firm or owner") as caught:
        clients.consent_commands.import_csv(ledger, path, NOW)
    assert owner(1) not in str(caught.value) and word not in str(caught.value)
