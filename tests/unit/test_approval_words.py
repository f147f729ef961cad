"""Nothing that is signed is left out of what a person is shown, and a change shows as one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from federation.kernel.manifest import AlignSettings, BankSettings, ColumnDeclaration, Manifest, ModelSettings, PrivacySettings
from federation.models.horizontal.private_losses import sums
from federation.noise.accounting import epsilon_of
from privacy.approval.words import describe, difference, fingerprint
from tests.agency_scene import behind_an_agency
from tests.bank_case import bank_manifest, five
from tests.post import manifest

replace = msgspec.structs.replace


def shown(of: Manifest, me: str = "bank") -> str:
    return "\n".join(line for section in describe(of, me) for line in section.lines)


def whole() -> Manifest:
    made = manifest("bank", "platform", "tax", contracts=("session", "align", "logistic"), purpose="decide")
    columns = (ColumnDeclaration(name="turnover", kind="numeric", level=4, classification="C2", unit="CNY a month"),)
    return replace(made, parties=(replace(made.parties[0], columns=columns), *made.parties[1:]))


def test_the_person_sees_columns_levels_units_partners_learning_cost_and_expiry() -> None:
    text = shown(whole())
    for words in (
        "turnover (numeric, level 4, class C2, in CNY a month)",
        "platform",
        "logistic: label party learns",
        "no noise",
        "no node takes part after",
    ):
        assert words in text, words


CHANGES: list[dict[str, Any]] = [
    {"purpose": "research"}, {"seed": 8}, {"task": "binning"}, {"model": "scorecard"}, {"study": "s"}, {"requested_by": "validator"},
    {"privacy": PrivacySettings(minimum_cohort=11)}, {"privacy": PrivacySettings(max_score_reveals=41)}, {"settings": ModelSettings(C=2.0)},
    {"privacy": PrivacySettings(label_disclosure=True)}, {"privacy": PrivacySettings(partner_disclosure="full")},
    {"privacy": PrivacySettings(withdrawal="continue")}, {"privacy": PrivacySettings(label_noise=1.0)},
    {"privacy": PrivacySettings(epsilon=1.0, delta=1e-6)}, {"align": AlignSettings(visibility="book")}, {"contracts": ("session", "align")},
    {"code_version": "9"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_whatever_is_changed_shows_as_a_difference(change: dict[str, Any]) -> None:
    before, now = whole(), replace(whole(), **change)
    lines = difference(before, now, "bank")
    assert [line for line in lines if line.startswith(("+ ", "- "))]


def test_a_partners_other_key_or_column_shows_and_a_new_name_alone_does_not() -> None:
    now = whole()
    others = (replace(now.parties[1], identity=manifest("x", "y").parties[0].identity), now.parties[2])
    assert any("platform" in line for line in difference(now, replace(now, parties=(now.parties[0], *others)), "bank"))
    assert difference(now, replace(now, run="again", expires="2027-01-01T00:00:00Z"), "bank") == ("nothing but its name and expiry",)
    assert difference(None, now, "bank")[0].startswith("+ the first run")


def test_an_agency_its_key_and_for_whom_it_relays_show_and_so_does_its_coming() -> None:
    made = behind_an_agency("bank", "platform", "tax")
    key = made.agencies[0].identity
    for me in ("bank", "tax"):
        assert f"agency (agency), key {fingerprint(key)}, which relays for platform" in shown(made, me)
        assert "platform (platform, through agency)" in shown(made, me)
    assert "all it sends and receives goes through agency" in shown(made, "platform")
    assert "it relays what platform sends and receives" in shown(made, "agency")
    straight = replace(made, agencies=(), contracts=(), parties=tuple(replace(party, through="") for party in made.parties))
    assert any(line.startswith("+ With whom: agency (agency)") for line in difference(straight, made, "bank"))


# -- cost -----------------------------------------------------------------------------------------------------------------------------


def over_banks(**privacy: Any) -> Manifest:
    stop = privacy.pop("drop_outs", "continue")
    return bank_manifest(five(categorical=False), model="scorecard", privacy=PrivacySettings(**privacy), banks=BankSettings(drop_outs=stop))


def cost(of: Manifest) -> str:
    (found,) = [section for section in describe(of, of.parties[0].name) if section.title == "What it costs"]
    return "\n".join(found.lines)


def test_each_noisy_sum_has_a_line_with_its_epsilon_and_delta_and_together_they_cost_what_is_stated_not_their_sum() -> None:
    made = over_banks(epsilon=2.0, delta=1e-6)
    lines = cost(made).splitlines()
    rows = [line.rsplit(maxsplit=2) for line in lines if line.startswith("  ") and line.endswith("1e-06")]
    assert [name.strip() for name, _, _ in rows] == [*(name for name, _ in sums(made)), "together"]
    alone = [float(epsilon) for _, epsilon, _ in rows[:-1]]
    assert len(alone) == 9 and max(alone) < 2.0 < math.fsum(alone) and float(rows[-1][1]) == 2.0
    for (_, rho), figure in zip(sums(made), alone, strict=True):
        assert figure == pytest.approx(epsilon_of(rho, 1e-6), rel=0.01)
    assert all(line in cost(over_banks(epsilon=4.0, delta=1e-6)) for line in lines if line.startswith("each"))
    assert not any(row[0] in cost(over_banks()) for row in rows) and "no noise is added" in cost(over_banks())


def test_over_banks_it_says_who_sees_a_withdrawn_row_and_a_lost_banks_part_and_control_where_nobody_does_it_does_not() -> None:
    row, part = "the difference is the row", "its own part"
    assert row in cost(over_banks(withdrawal="continue")) and row not in cost(over_banks())
    assert "if a consent is withdrawn meanwhile, the run ends" in cost(over_banks())
    noisy = cost(over_banks(withdrawal="continue", epsilon=2.0, delta=1e-6))
    assert row not in noisy and "within the epsilon above" in noisy and "hides a row and not a bank" in noisy
    assert part in cost(over_banks()) and part not in cost(over_banks(drop_outs="stop"))
    assert "no sum is opened without it" in cost(over_banks(drop_outs="stop"))
    across = replace(whole(), privacy=PrivacySettings(withdrawal="continue"))
    assert "which firm it was and whether it was bad" in cost(across) and part not in cost(across)
    assert "which firm it was" not in cost(whole())


def test_label_noise_is_not_said_to_cover_the_fit_and_what_limits_the_fit_is_said() -> None:
    noisy = replace(whole(), privacy=PrivacySettings(label_noise=2.0, max_answers=123, max_score_reveals=7))
    text = cost(noisy)
    for words in (
        "epsilon 2, delta 0",
        "does not cover the fit",
        "123 encrypted answers",
        "7 score vectors",
        "ten rows for each parameter",
    ):
        assert words in text, words
    assert "the columns of this manifest and no others" in text
    assert "does not cover the fit" not in cost(replace(noisy, task="binning", model="scorecard"))  # where none follows
    assert "label noise" not in cost(whole())


def test_fingerprints_of_two_keys_differ_and_one_reads_in_groups() -> None:
    one, other = (manifest("x", "y").parties[i].identity for i in (0, 1))
    assert fingerprint(one) != fingerprint(other)
    assert [len(group) for group in fingerprint(one).split()] == [4] * 8


def test_control_every_field_of_the_manifest_is_somewhere_on_the_screen() -> None:
    text = shown(replace(whole(), study="winter"))
    said = {"run", "task", "model", "purpose", "parties", "agencies", "contracts", "coordinator", "expires", "requested_by", "study"}
    for name, value in msgspec.to_builtins(whole()).items():
        if name not in said:
            fields = [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
            assert all(f"{field} = " in text or field.startswith("privacy.") for field in fields), name
