"""A run file is carried out as written or refused with file, table, key and the nearest known name; nothing in it is silently ignored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import BinningSettings
from server.run_file import RunFile, load

Document = dict[str, Any]


def document() -> Document:
    """Three parties, everything else at its default."""
    return {
        "run": {"task": "train", "model": "logistic", "purpose": "decide"},
        "party": [
            {"name": "bank", "role": "bank", "source": "bank.csv", "id": "id", "label": "label"},
            {"name": "platform-a", "role": "platform", "source": "platform.csv", "id": "id"},
            {"name": "tax", "role": "tax", "source": "tax.csv", "id": "id"},
        ],
    }


def write(folder: Path, content: Document | str | bytes) -> Path:
    for name in ("bank", "platform", "tax"):
        (folder / f"{name}.csv").write_text("id\n")
    path = folder / "run.toml"
    raw = content if isinstance(content, bytes) else (content if isinstance(content, str) else tomli_w.dumps(content)).encode()
    path.write_bytes(raw)
    return path


def read(folder: Path, **tables: Any) -> RunFile:
    return load(write(folder, document() | tables))


def refused(folder: Path, content: Document | str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(write(folder, content))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.model.C, found.model.standardize, found.model.missing, found.model.signs) == (1.0, True, "mean", "free")
    assert (found.model.tolerance, found.model.max_iterations) == (1e-7, 50)
    assert (found.binning.max_bins, found.binning.min_share, found.binning.monotone) == (6, 0.05, "none")
    assert (found.scorecard.base_points, found.scorecard.base_odds, found.scorecard.pdo) == (600, 50, 20)
    assert (found.align.visibility, found.align.former) == ("hidden", None)
    strict = found.privacy
    assert not any((strict.single_partner_disclosure, strict.two_member_disclosure, strict.label_disclosure))
    assert (strict.max_score_reveals, strict.minimum_cohort, strict.max_released_counts) == (40, 10, None)


@pytest.mark.parametrize("run", [{"model": "scorecard"}, {"task": "binning"}])
def test_where_columns_are_binned_missing_is_a_bin_and_there_is_no_ridge(tmp_path: Path, run: Document) -> None:
    found = read(tmp_path, run=run)
    assert math.isinf(found.model.C)
    assert found.model.missing == "bin"


def test_paths_are_relative_to_the_file_and_a_node_sees_only_its_own_section(tmp_path: Path) -> None:
    found = read(tmp_path, sample={"as_of": "day", "weight": "w"})
    bank, tax = found.node_section("bank"), found.node_section("tax")
    assert bank["source"] == str(tmp_path.resolve() / "bank.csv")
    assert (bank["as_of"], bank["weight"], bank["label"]) == ("day", "w", "label")
    assert "label" not in tax
    assert "weight" not in tax
    assert "platform" not in json.dumps(tax)
    tomli_w.dumps(bank)  # a node's section is TOML as it stands


def test_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    assert read(tmp_path).digest == read(tmp_path).digest
    assert read(tmp_path).digest != read(tmp_path, model={"C": 2.0}).digest


UNKNOWN = [
    ({"modle": {}}, "modle", "'model'"),
    ({"run": {"tsk": "train"}}, "[run]", "'task'"),
    ({"model": {"c": 1.0}}, "[model]", "'C'"),
    ({"model": {"max_iteration": 5}}, "[model]", "'max_iterations'"),
    ({"sample": {"weights": "w"}}, "[sample]", "'weight'"),
    ({"binning": {"maxbins": 5}}, "[binning]", "'max_bins'"),
    ({"select": {"iv_minimum": 0.1}}, "[select]", "'iv_min'"),
    ({"scorecard": {"pd0": 20}}, "[scorecard]", "'pdo'"),
    ({"align": {"visible": "hidden"}}, "[align]", "'visibility'"),
    ({"privacy": {"min_cohort": 3}}, "[privacy]", "'minimum_cohort'"),
    ({"run": {"model": "logistik"}}, "[run] model", "'logistic'"),
    ({"run": {"task": "trian"}}, "[run] task", "'train'"),
    ({"model": {"missing": "meen"}}, "[model] missing", "'mean'"),
    ({"binning": {"monotone": "incresing"}}, "[binning] monotone", "'increasing'"),
    ({"align": {"visibility": "hiden"}}, "[align] visibility", "'hidden'"),
]


@pytest.mark.parametrize(("tables", "place", "suggestion"), UNKNOWN)
def test_an_unknown_key_or_word_names_file_table_and_the_nearest_known_one(
    tmp_path: Path, tables: Document, place: str, suggestion: str
) -> None:
    text = refused(tmp_path, document() | tables)
    assert "run.toml" in text
    assert place in text
    assert suggestion in text


@pytest.mark.parametrize(
    ("key", "value", "suggestion"),
    [("lable", "y", "'label'"), ("role", "taxes", "'tax'"), ("types", {"x": "number"}, "'numeric'"), ("rol", "bank", "'role'")],
)
def test_an_unknown_key_or_word_of_a_party_names_the_party(tmp_path: Path, key: str, value: Any, suggestion: str) -> None:
    changed = document()
    changed["party"][2][key] = value
    text = refused(tmp_path, changed)
    assert "[[party]] tax" in text
    assert suggestion in text


LATER: list[tuple[Document, str]] = [
    ({"run": {"task": "statistics"}}, "statistics"),
    ({"run": {"model": "boosting"}}, "boosting"),
    ({"run": {"model": "network"}}, "network"),
    ({"sample": {"segment": "industry"}}, "segment"),
    ({"binning": {"method": "tree"}}, "method"),
    ({"select": {"iv_min": 0.02}}, "iv_min"),
    ({"select": {"p_max": 0.05}}, "p_max"),
    ({"privacy": {"epsilon": 1.0}}, "epsilon"),
    ({"privacy": {"delta": 1e-6}}, "delta"),
]


@pytest.mark.parametrize(("tables", "name"), LATER)
def test_a_feature_that_is_not_there_yet_is_refused_and_not_ignored(tmp_path: Path, tables: Document, name: str) -> None:
    text = refused(tmp_path, document() | tables)
    assert name in text
    assert "not available yet" in text


WRONG: list[tuple[Document, str]] = [
    ({"run": {"seed": "7"}}, "[run] seed"),
    ({"run": {"seed": -1}}, "[run] seed"),
    ({"run": {"seed": True}}, "[run] seed"),
    ({"run": {"holdout": 1.0}}, "[run] holdout"),
    ({"run": {"holdout": -0.1}}, "[run] holdout"),
    ({"run": {"holdout": math.nan}}, "[run] holdout"),
    ({"run": {"purpose": ""}}, "[run] purpose"),
    ({"run": []}, "[run]"),
    ({"model": {"C": 0.0}}, "[model] C"),
    ({"model": {"C": -1.0}}, "[model] C"),
    ({"model": {"C": math.nan}}, "[model] C"),
    ({"model": {"C": "1"}}, "[model] C"),
    ({"model": {"standardize": "yes"}}, "[model] standardize"),
    ({"model": {"tolerance": 0.0}}, "[model] tolerance"),
    ({"model": {"max_iterations": 0}}, "[model] max_iterations"),
    ({"model": {"max_iterations": 5.0}}, "[model] max_iterations"),
    ({"model": {"missing": "bin"}}, "[model] missing"),
    ({"model": {"signs": "woe"}}, "[model] signs"),
    ({"run": {"model": "scorecard"}, "model": {"missing": "mean"}}, "[model] missing"),
    ({"model": 3}, "[model]"),
    ({"sample": {"as_of": 3}}, "[sample] as_of"),
    ({"sample": {"as_of": "day", "out_of_time_from": "2024-13-01"}}, "[sample] out_of_time_from"),
    ({"sample": {"as_of": "day", "out_of_time_from": "2023-02-31"}}, "[sample] out_of_time_from"),
    ({"sample": {"out_of_time_from": "2024-01-01"}}, "[sample] as_of"),
    ({"sample": {"split_seed": -3}}, "[sample] split_seed"),
    ({"binning": {"max_bins": 1}}, "[binning] max_bins"),
    ({"binning": {"min_share": 0.5}}, "[binning] min_share"),
    ({"binning": {"min_bads": -1}}, "[binning] min_bads"),
    ({"binning": {"special": ["a"]}}, "[binning] special"),
    ({"binning": {"special": [math.inf]}}, "[binning] special"),
    ({"binning": {"woe_smoothing": 0.0}}, "[binning] woe_smoothing"),
    ({"binning": {"monotone": True}}, "[binning] monotone"),
    ({"select": 1}, "[select]"),
    ({"scorecard": {"pdo": 0}}, "[scorecard] pdo"),
    ({"scorecard": {"base_odds": math.inf}}, "[scorecard] base_odds"),
    ({"align": {"from": "nowhere"}}, "[align] from"),
    ({"privacy": {"minimum_cohort": 0}}, "[privacy] minimum_cohort"),
    ({"privacy": {"max_score_reveals": 0}}, "[privacy] max_score_reveals"),
    ({"privacy": {"single_partner_disclosure": 1}}, "[privacy] single_partner_disclosure"),
    ({"party": {}}, "[[party]]"),
    ({"party": []}, "0 [[party]]"),
]


@pytest.mark.parametrize(("tables", "place"), WRONG)
def test_a_wrong_type_or_a_number_out_of_range_names_its_place(tmp_path: Path, tables: Document, place: str) -> None:
    text = refused(tmp_path, document() | tables)
    assert "run.toml" in text
    assert place in text


@pytest.mark.parametrize("value", [math.inf, 1, 0.01])
def test_control_the_ridge_may_be_infinite_or_a_whole_number(tmp_path: Path, value: float) -> None:
    assert value == read(tmp_path, model={"C": value}).model.C


def test_a_day_may_be_written_as_a_toml_date(tmp_path: Path) -> None:
    text = tomli_w.dumps(document() | {"sample": {"as_of": "day"}}).replace('"day"', '"day"\nout_of_time_from = 2024-07-01')
    assert load(write(tmp_path, text)).sample.out_of_time_from == "2024-07-01"


def party(number: int, **changes: Any) -> Document:
    changed = document()
    changed["party"][number] |= changes
    return changed


PARTIES = [
    (party(1, name="bank"), "two parties have this name"),
    (party(1, name="coordinator"), "reserved"),
    (party(1, name="Platform A"), "a-z"),
    (party(1, name="p" * 33), "32"),
    (party(1, name=""), "a-z"),
    (party(1, label="y"), "2 parties have a label"),
    (party(1, source="gone.csv"), "gone.csv does not exist"),
    (party(1, source="."), "is a folder"),
    (party(1, source="postgresql://reader@host/db"), "names files"),
    (party(1, bins="bins.toml"), "no bins"),
    (party(1, include=["a"], exclude=["a"]), "both in include and in exclude"),
    (party(1, levels={"a": 6}), "levels"),
    (party(1, levels={"a": "high"}), "levels"),
    (party(1, disclosure={"dominance_k": 101.0}), "disclosure"),
    (party(1, disclosure={"dominance_q": 1}), "dominance_q"),
    (party(1, include="a"), "include"),
    (party(1, name=7), "name"),
    (document() | {"party": document()["party"][1:]}, "no party has a label"),
    (document() | {"party": document()["party"][:1]}, "1 [[party]] sections"),
    (document() | {"party": [document()["party"][0], *(document()["party"][1] | {"name": f"p{i}"} for i in range(8))]}, "9 [[party]]"),
]


@pytest.mark.parametrize(("changed", "finding"), PARTIES)
def test_parties_that_cannot_work_together_are_refused(tmp_path: Path, changed: Document, finding: str) -> None:
    assert finding in refused(tmp_path, changed)


def test_a_party_without_name_role_or_source_is_refused(tmp_path: Path) -> None:
    for key in ("name", "role", "source"):
        changed = document()
        del changed["party"][1][key]
        text = refused(tmp_path, changed)
        assert f"missing required field {key}" in text


def test_one_partner_alone_needs_the_disclosure_to_be_declared(tmp_path: Path) -> None:
    two = {"party": document()["party"][:2]}
    assert "single_partner_disclosure = true" in refused(tmp_path, document() | two)
    assert len(read(tmp_path, **two, privacy={"single_partner_disclosure": True}).parties) == 2
    assert len(read(tmp_path, **two, run={"task": "binning"}).parties) == 2  # no score is shown


def test_text_that_is_not_toml_shows_the_line(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, "[run]\ntask = \n")
    assert "UTF-8" in refused(tmp_path, b"[run]\npurpose = '\xff\xfe'\n")
    assert "[run]" in refused(tmp_path, "")
    with pytest.raises(ConfigurationError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")


def test_a_former_run_gives_its_manifest_hash_and_each_node_its_own_former_home(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "result.json").write_text('{"manifest_hash": "ab12"}')
    found = read(tmp_path, align={"from": "before"})
    assert found.align.former == "ab12"
    assert found.node_section("tax")["former"] == str(tmp_path.resolve() / "before" / "parties" / "tax")


LOGISTIC, BINNING, STATISTICS = {"task": "train", "model": "logistic"}, {"task": "binning"}, {"task": "statistics"}


@pytest.mark.parametrize(
    ("run", "table", "banks"),
    [
        (LOGISTIC, {"scorecard": {"pdo": 30.0}}, False), (LOGISTIC, {"scorecard": {"pdo": 30.0}}, True), (LOGISTIC, {"binning": {"max_bins": 4}}, True),
        (BINNING, {"scorecard": {"pdo": 30.0}}, False), (BINNING, {"select": {"p_max": 0.1}}, True), (STATISTICS, {"model": {"C": 2.0}}, True),
        (STATISTICS, {"select": {"p_max": 0.1}}, True),
    ],
)  # fmt: skip
def test_a_table_that_the_run_uses_nothing_of_is_refused_and_not_ignored(
    tmp_path: Path, run: Document, table: Document, banks: bool
) -> None:
    asked = document() | {"run": document()["run"] | run} | table
    if banks:
        asked["party"] = [party | {"label": "label"} for party in asked["party"]]
    (name,) = table
    assert f"[{name}]: a run with task" in refused(tmp_path, asked)


@pytest.mark.parametrize(
    ("run", "tables", "banks"),
    [
        ({"model": "scorecard"}, {"binning": {"max_bins": 4}, "scorecard": {"pdo": 30.0}}, False),
        (LOGISTIC, {"binning": {"min_share": 0.1}}, False),  # rare levels of plain columns are pooled by it
        (STATISTICS, {"binning": {"special": [-1.0]}}, True),  # and by this what counts as missing is known
    ],
)  # fmt: skip
def test_control_the_same_tables_are_taken_where_they_are_used(tmp_path: Path, run: Document, tables: Document, banks: bool) -> None:
    asked = document() | {"run": document()["run"] | run} | tables
    if banks:
        asked["party"] = [party | {"label": "label"} for party in asked["party"]]
    assert load(write(tmp_path, asked)).binning != BinningSettings()


def _through(name: str, party: int = 1) -> Document:
    made = document()
    made["party"][party]["through"] = name
    return made


def test_an_agency_is_read_and_its_party_goes_through_it(tmp_path: Path) -> None:
    found = load(write(tmp_path, _through("agency-a") | {"agency": [{"name": "agency-a"}]}))
    assert found.nodes == ("bank", "platform-a", "tax", "agency-a")
    assert found.node_section("platform-a")["through"] == "agency-a"
    assert "through" not in found.node_section("tax")


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (_through("agency-b") | {"agency": [{"name": "agency-a"}]}, "no party goes through it"),
        (_through("agency-b"), "is not known"),
        (_through("agency-a", party=0) | {"agency": [{"name": "agency-a"}]}, "a party with a label goes through an agency"),
        (_through("tax") | {"agency": [{"name": "tax"}]}, "no name of its own"),
        (document() | {"agency": {"name": "agency-a"}}, "two brackets"),
        (_through("agency-a") | {"agency": [{"name": "agency-a", "source": "a.csv"}]}, "source"),
    ],
)
def test_an_agency_that_is_no_ones_or_not_one_is_refused(tmp_path: Path, asked: Document, what: str) -> None:
    assert what in refused(tmp_path, asked)


def test_an_institutions_rules_of_disclosure_reach_its_node_and_nobody_elses(tmp_path: Path) -> None:
    raw = document()
    raw["party"][1]["disclosure"] = {"dominance_k": 90.0}
    found = load(write(tmp_path, raw))
    assert found.node_section("platform-a")["disclosure"]["dominance_k"] == 90.0
    assert "disclosure" not in found.node_section("tax")
