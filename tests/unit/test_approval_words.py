"""Nothing that is signed is left out of what a person is shown, and a change shows as one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from federation.kernel.manifest import AlignSettings, ColumnDeclaration, Manifest, ModelSettings, PrivacySettings
from privacy.approval.words import describe, difference, fingerprint
from tests.agency_scene import behind_an_agency
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
