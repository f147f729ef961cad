"""Whole sources: whose columns are whose, what a run does without, and that no manifest says one thing and declares another."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from clients.column_sources import column_sources
from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.manifest import ColumnDeclaration, PartyDeclaration, SelectSettings
from privacy.approval.words import describe
from server.draft import draft_manifest
from tests.unit.test_run_file import document, read, refused


def test_the_institutions_word_counts_then_the_dictionarys_then_its_own() -> None:
    names = ["court_judgments_12m", "bureau_enquiries_3m", "water_bill", "power_bill", "turnover"]
    found = column_sources("house", names, {"utility": ("water_*", "power_bill"), "data-house": ("bureau_enquiries_3m",)})
    assert found == {"court_judgments_12m": "court", "bureau_enquiries_3m": "data-house", "water_bill": "utility", "power_bill": "utility"}


@pytest.mark.parametrize(
    ("stated", "words"),
    [({"court": ("judgement_*",)}, "no column is called so"), ({"a": ("turn*",), "b": ("turnover",)}, "is of 'a' and of 'b'")],
)
def test_a_pattern_that_names_nothing_or_a_column_of_two_sources_is_refused(stated: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        column_sources("house", ["turnover"], stated)


def test_source_auc_min_is_for_the_command_that_weighs(tmp_path: Any) -> None:
    assert "creditfed sources" in refused(tmp_path, document() | {"select": {"source_auc_min": 0.002}})


@pytest.mark.parametrize("role", ["court", "registry", "bureau", "blacklist", "payments"])
def test_a_party_may_have_any_role_of_the_dictionary_and_no_other(tmp_path: Any, role: str) -> None:
    raw = document()
    raw["party"][2]["role"] = role
    assert read(tmp_path, party=raw["party"]).party("tax").role == role
    raw["party"][2]["role"] = "casino"
    assert "role 'casino' is not known" in refused(tmp_path, raw)
    raw["party"][2]["role"] = "agency"
    assert "role" in refused(tmp_path, raw)


# -- the manifest -------------------------------------------------------------------------------------------------------------------------


def described(tmp_path: Any, drop: tuple[str, ...], *, disclosure: bool = True, **columns: tuple[ColumnDeclaration, ...]) -> Any:
    import datetime as dt

    from federation.kernel import suite
    from federation.kernel.manifest import Description
    from federation.kernel.secret import Secret

    def key(name: str) -> str:
        return suite.signing_public(Secret(suite.digest("test", name))).hex()

    settings = read(tmp_path, select={"drop_sources": list(drop)}, privacy={"single_partner_disclosure": disclosure})
    said = tuple(
        Description(
            PartyDeclaration(
                name=p.name, role=p.role, identity=key(p.name), label=p.label is not None, columns=columns[p.name.partition("-")[0]]
            ),
            "any",
        )
        for p in settings.parties
    )
    return draft_manifest(settings, "run-1", said, key("coordinator"), dt.datetime(2026, 8, 1, tzinfo=dt.UTC))


def column(name: str, source: str = "") -> ColumnDeclaration:
    return ColumnDeclaration(name=name, kind="numeric", source=source)


COLUMNS = {
    "bank": (column("balance"), column("court_judgments_12m", "court")), "platform": (column("orders"),),
    "tax": (column("invoices"), column("bureau_enquiries_3m", "bureau")),
}  # fmt: skip


def test_a_manifest_says_without_which_source_it_is_and_declares_no_column_of_it(tmp_path: Any) -> None:
    manifest = described(tmp_path, ("court", "bureau"), **COLUMNS)
    assert [[c.name for c in party.columns] for party in manifest.parties] == [["balance"], ["orders"], ["invoices"]]
    told = {line for section in describe(manifest, "tax") for line in section.lines}
    assert {"without the source court", "without the source bureau"} <= told


def test_control_a_manifest_that_says_so_and_declares_the_column_all_the_same_is_refused(tmp_path: Any) -> None:
    import msgspec

    from federation.kernel.manifest_rules import check_manifest

    manifest = described(tmp_path, (), **COLUMNS)
    check_manifest(manifest)
    for name in ("court", "bureau", "platform-a", "bank"):
        with pytest.raises(ConfigurationError, match="declares columns of it"):
            check_manifest(msgspec.structs.replace(manifest, select=SelectSettings(drop_sources=(name,))))


def test_a_source_that_nobody_has_is_an_error_and_a_party_left_bare_takes_no_part(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="no party has a source 'curt'"):
        described(tmp_path, ("curt",), **COLUMNS)
    bare = COLUMNS | {"tax": (column("bureau_enquiries_3m", "bureau"),)}
    assert described(tmp_path, ("bureau",), **bare).members == ("bank", "platform-a")
    assert described(tmp_path, ("bureau",), **COLUMNS).members == ("bank", "platform-a", "tax")
    assert described(tmp_path, ("bank",), **COLUMNS).members == ("bank", "platform-a", "tax")  # who has the label stays


def test_a_party_left_bare_does_not_hide_that_one_partner_alone_is_left(tmp_path: Any) -> None:
    bare = COLUMNS | {"tax": (column("bureau_enquiries_3m", "bureau"),)}
    with pytest.raises(ConfigurationError, match="with one feature party"):
        described(tmp_path, ("bureau",), disclosure=False, **bare)
    assert described(tmp_path, (), disclosure=False, **bare)


def test_the_vault_opens_no_column_of_a_dropped_source(tmp_path: Any) -> None:
    import msgspec

    from clients.party_config import PartyConfig
    from clients.vault import Vault, describe_table
    from federation.kernel.secret import Secret

    frame = pd.DataFrame({"id": ["a", "b", "c"], "invoices": [1.0, 2.0, 3.0], "bureau_enquiries_3m": [0.0, 1.0, 2.0]})
    frame.to_parquet(tmp_path / "tax.parquet")
    config = PartyConfig(name="tax", role="tax", source=tmp_path / "tax.parquet")
    facts = describe_table(config)
    assert [(c.name, c.source) for c in facts.columns] == [("invoices", ""), ("bureau_enquiries_3m", "bureau")]
    vault = Vault(config, Secret(b"s" * 32))
    for drop, names in (((), ["invoices", "bureau_enquiries_3m"]), (("bureau",), ["invoices"]), ((), ["invoices", "bureau_enquiries_3m"])):
        manifest = described(tmp_path, drop, **COLUMNS)
        parties = tuple(
            msgspec.structs.replace(p, columns=tuple(c for c in facts.columns if c.source not in drop)) if p.name == "tax" else p
            for p in manifest.parties
        )
        assert list(vault.rows(msgspec.structs.replace(manifest, parties=parties)).columns) == names


def test_a_partys_name_that_is_no_source_is_refused_with_how_to_leave_the_party_out(tmp_path: Any) -> None:
    own = {"bank": (column("balance"),), "platform": (column("orders"),), "tax": (column("invoices", "invoice book"),)}
    name = next(party.name for party in read(tmp_path).parties if party.role == "tax")
    with pytest.raises(ConfigurationError) as refused:
        described(tmp_path, (name,), **own)
    assert "no party has a source" in str(refused.value) and f"do without all of {name}, take its [[party]] out" in str(refused.value)
    with pytest.raises(ConfigurationError) as unknown:
        described(tmp_path, ("elsewhere",), **own)
    assert "[[party]]" not in str(unknown.value)
