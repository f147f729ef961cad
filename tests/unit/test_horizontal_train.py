"""Training over many banks as one plan: equal to the pooled reference, side by side with local models, and it survives a bank's leaving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from federation.kernel import state as states
from federation.kernel.errors import ConfigurationError, DataError, PolicyRefusal
from federation.kernel.manifest import SampleSettings, SelectSettings
from federation.models import metrics
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.score_cells import BADS, GOODS, CountCells, overall
from federation.models.horizontal.train import Train, Trained
from federation.models.horizontal.train_document import scores, share_document, share_lines
from federation.models.sample import Sample, draw_sample
from federation.models.table import Column, Table
from simulations.pooled import Rows as PooledRows
from simulations.pooled import fit as pooled_fit
from tests.bank_case import settled

SBA = Path(__file__).parents[3] / "shared" / "data" / "sba_horizontal_sample"
LEVELS = ("north", "south", "west", "rare")


def table_of(frame: pd.DataFrame) -> Table:
    frame = frame.sort_values("id")
    columns = {}
    for name in frame.columns.drop(["id", "label", "weight", "as_of"], errors="ignore"):
        if pd.api.types.is_numeric_dtype(frame[name]):
            columns[name] = Column(name, "numeric", frame[name].to_numpy(np.float64))
        else:
            columns[name] = Column(name, "categorical", np.array([None if pd.isna(v) else str(v) for v in frame[name]], object))
    ids = tuple(frame["id"])
    as_of = frame["as_of"].to_numpy("datetime64[D]") if "as_of" in frame else None
    weight = frame["weight"].to_numpy(np.float64) if "weight" in frame else None
    return Table(ids, ids, columns, b"", as_of, frame["label"].to_numpy(np.int8), weight)


def drawn(seed: int, n: int = 1500) -> list[pd.DataFrame]:
    """Three banks that differ in size, base rate and mix; missing cells; one column that is constant everywhere."""
    random = np.random.default_rng(seed)
    frames = []
    for b, (rows, shift) in enumerate([(n, 0.0), (n // 2, -0.8), (n // 5, 0.7)]):
        a, c = random.normal(1e4, 3e3, rows), random.normal(size=rows) + 0.3 * b
        region = random.choice(["north", "south", "west", "rare", "odd"], rows, p=[0.4, 0.3, 0.25, 0.04, 0.01])
        z = -1 + shift + (a - 1e4) / 6e3 - 0.5 * c + (region == "west") * 0.6
        frame = pd.DataFrame({"a": a, "c": c, "noise": random.normal(size=rows), "same": 3.0, "region": region.astype(object)})
        frame.loc[random.random(rows) < 0.1, "c"] = np.nan
        frame.loc[random.random(rows) < 0.05, "region"] = None
        frame["label"] = (random.random(rows) < expit(z)).astype(int)
        frame["weight"] = random.uniform(0.5, 2, rows)
        frame["id"] = [f"b{b}-{i:05d}" for i in range(rows)]
        frames.append(frame)
    return frames


def market(frames, **settings):
    tables = [table_of(frame) for frame in frames]
    samples = [draw_sample(table, SampleSettings(holdout=0.3, split_seed=1)) for table in tables]
    levels = settings.pop("levels", {"region": LEVELS})
    return [Train(table, sample, settled(**settings), levels, {}) for table, sample in zip(tables, samples, strict=True)]


def pooled(frames, programs, C, missing="mean"):
    """The reference of `simulations.pooled`, which shares no code with this: on all banks' rows one below the other."""
    frame = pd.concat([f.sort_values("id") for f in frames]).set_index("id")
    train = np.concatenate([program.sample.train for program in programs])
    rows = PooledRows(
        frame.index.to_numpy(),
        frame["label"].to_numpy(float),
        frame["weight"].to_numpy() if "weight" in frame else np.ones(len(frame)),
        train,
    )
    levels = [*LEVELS]
    rules = {"all": {name: {"kind": "numeric", "missing": "mean"} for name in ("a", "c", "noise")}}
    rules["all"]["c"]["missing"] = missing  # the one with missing cells
    rules["all"]["region"] = {"kind": "levels", "levels": levels, "reference": "north", "other": True, "missing": True}
    return pooled_fit(rows, {"all": frame[["a", "c", "noise", "region"]]}, rules, C)


@pytest.mark.parametrize(("C", "missing"), [(1.0, "mean"), (None, "mean"), (0.1, "indicator"), (1.0, "zero")])
def test_the_global_model_equals_the_pooled_reference(C, missing):
    frames = drawn(1)
    programs = market(frames, C=C, missing=missing, tolerance=1e-9)
    done = add_up(programs)
    wanted = pooled(frames, programs, C, missing)
    documents = [share_document(program, state, "bank") for program, state in zip(programs, done, strict=True)]
    for document in documents:
        fit = document["fits"]["global"]
        assert fit["converged"], fit["reason"]
        assert fit["iterations"] <= 8
        assert set(fit["standardized"]) == set(wanted.standardized["all"])
        for name, value in wanted.standardized["all"].items():
            assert fit["standardized"][name] == pytest.approx(value, abs=1e-8)
        for name, value in wanted.coefficients["all"].items():
            assert fit["coefficients"][name] == pytest.approx(value, rel=1e-6, abs=1e-12)
        assert fit["constant"] == pytest.approx(wanted.intercept, abs=1e-7)
        assert any("'same'" in note for note in document["notes"])
        json.dumps(document, allow_nan=False)
    mine = np.concatenate([scores(program, state, "bank", b"")["score"] for program, state in zip(programs, done, strict=True)])
    np.testing.assert_allclose(mine, wanted.scores, atol=1e-7)
    assert len({tuple(share_lines(program, state)) for program, state in zip(programs, done, strict=True)}) == 1


def test_the_local_model_is_the_fit_of_this_banks_rows_alone():
    frames = [frame.drop(columns=["region"]) for frame in drawn(2)]
    programs = market(frames, C=None, tolerance=1e-9)
    for frame, program, state in zip(frames, programs, add_up(programs), strict=True):
        whole = frame.sort_values("id").set_index("id")
        rows = PooledRows(whole.index.to_numpy(), whole["label"].to_numpy(float), whole["weight"].to_numpy(), program.sample.train)
        rules = {"all": {name: {"kind": "numeric", "missing": "mean"} for name in ("a", "c", "noise")}}
        wanted = pooled_fit(rows, {"all": whole[["a", "c", "noise"]]}, rules, None)
        local = state.models["local"]
        np.testing.assert_allclose(local.coefficients, [wanted.standardized_intercept, *wanted.standardized["all"].values()], atol=1e-8)
        assert not np.allclose(local.coefficients, state.models["global"].coefficients, atol=1e-3)


def test_figures_on_own_rows_are_those_of_the_scores_and_nobody_elses():
    frames = drawn(3)
    programs = market(frames, personal_C=0.5)
    done = add_up(programs)
    for program, state in zip(programs, done, strict=True):
        own = share_document(program, state, "bank")["own"]
        assert set(own["figures"]) == {"global", "per bank", "personal", "local"}
        written = scores(program, state, "bank", b"")
        test = written["split"] == "test"
        sample = metrics.Sample.of(
            program.table.label[test], written["score"][test], written["probability"][test], program.table.weight[test]
        )
        assert own["figures"]["personal"]["test"]["auc"] == pytest.approx(metrics.measure(sample).auc.value, abs=1e-12)
        low, high = own["figures"]["personal"]["test"]["intervals"]["auc"]
        assert low < own["figures"]["personal"]["test"]["auc"] < high


def test_figures_over_all_banks_are_within_their_blur_of_the_pooled_figures():
    frames = drawn(4)
    programs = market(frames)
    done = add_up(programs)
    found = overall(done[0].cells, tuple(done[0].models), 0, 10)
    assert all(overall(state.cells, tuple(state.models), 0, 10) == found for state in done)
    for model in ("global", "per bank", "local"):
        for split in ("train", "test"):
            parts = [
                (p.table.label, s.models[model].scores(p.table), p.table.weight, getattr(p.sample, split))
                for p, s in zip(programs, done, strict=True)
            ]
            y, z, w = (np.concatenate([part[k][part[3]] for part in parts]) for k in range(3))
            exact = metrics.measure(metrics.Sample.of(y, z, None, w))
            figure = found[model][split]
            assert figure.n == len(y)
            assert figure.bads == y.sum()
            assert abs(figure.auc.value - exact.auc.value) <= figure.auc.blur + 1e-12
            assert figure.auc.blur < 0.01
            assert figure.ks.value <= exact.ks.value + 1e-12
            assert exact.ks.value <= figure.ks.value + figure.ks.blur + 1e-12
            assert figure.auc.interval[0] < figure.auc.value < figure.auc.interval[1]
        assert found[model]["train"].psi is None
        assert 0 <= found[model]["test"].psi < 0.1
    assert "out_of_time" not in found["global"]  # no rows: no figures


def test_no_cell_has_fewer_rows_than_the_cohort_and_there_are_at_most_a_hundred():
    random = np.random.default_rng(5)
    for n in (15, 60, 3000):
        score = np.round(random.normal(size=n), 1) * 3
        label = (random.random(n) < 0.3).astype(np.int8)
        every = Sample(np.ones(n, bool), np.zeros(n, bool), np.zeros(n, bool))
        state = add_up([CountCells({"m": score}, label, np.ones(n), every, 10)])[0]
        rows = state.totals[0, 0, :, GOODS] + state.totals[0, 0, :, BADS]
        assert rows.sum() == n
        assert (rows[rows > 0] >= 10).all()
        assert len(state.cuts[0]) < 100


def test_a_bank_that_leaves_after_any_sum_leaves_a_model_of_the_others():
    frames = drawn(6, 600)
    whole = add_up(market(frames, select=SelectSettings(p_max=0.05)))[0].sums
    for last in range(1, whole):
        programs = market(frames, select=SelectSettings(p_max=0.05))
        now = [program.begin() for program in programs]
        taken = 0
        while not now[0].done:
            vectors = [program.ask(state) for program, state in zip(programs, now, strict=True)]
            assert len({len(vector) for vector in vectors}) == 1
            now = [program.take(state, np.sum(vectors, axis=0), len(now)) for program, state in zip(programs, now, strict=True)]
            taken += 1
            if taken == last:
                programs, now = programs[:-1], now[:-1]
        assert now[0].fits["global"].converged
        assert now[0].banks == (3,) * last + (2,) * (taken - last)
        assert share_lines(programs[0], now[0]) == share_lines(programs[1], now[1])


def test_the_state_survives_being_stored_between_any_two_sums():
    frames = drawn(7, 400)
    settings = {"select": SelectSettings(p_max=0.05, corr_max=0.9), "intercept": "per bank"}
    straight = add_up(market(frames, **settings))
    now = [program.begin() for program in market(frames, **settings)]
    while True:
        programs = market(frames, **settings)
        now = [states.load(states.dump(state), Trained) for state in now]
        vectors = [program.ask(state) for program, state in zip(programs, now, strict=True)]
        if vectors[0] is None:
            break
        now = [program.take(state, np.sum(vectors, axis=0), 3) for program, state in zip(programs, now, strict=True)]
    for program, one, other in zip(programs, now, straight, strict=True):
        assert states.dump(one) == states.dump(other)
        json.dumps(share_document(program, one, "bank"), allow_nan=False)


def test_levels_below_the_cohort_have_no_column_of_their_own():
    frames = drawn(8, 300)
    frames[0].loc[frames[0].index[:4], "region"] = "few"
    programs = market(frames, levels={"region": (*LEVELS, "few", "never")})
    done = add_up(programs)[0]
    names = programs[0].encoding(done).names
    assert "region=few" not in names
    assert "region=never" not in names
    assert "region=north" not in names  # the reference
    assert {"region=south", "region=west", "region=other", "region is missing"} <= set(names)


def test_units_do_not_matter_from_billions_to_millionths():
    """Every number stays within the range of a sum, 2^60, and on its grid of 2^-60 the model is the same."""
    frames = [frame.drop(columns=["region", "weight"]) for frame in drawn(11)]
    plain = add_up(market(frames, tolerance=1e-9))[0]
    other = [frame.assign(a=frame["a"] * 1e8, c=frame["c"] * 1e-9, noise=1.6e9 + 1e6 * frame["noise"]) for frame in frames]
    programs = market(other, tolerance=1e-9)
    now = [program.begin() for program in programs]
    while not now[0].done:
        vectors = [program.ask(state) for program, state in zip(programs, now, strict=True)]
        assert max(np.abs(vector).max() for vector in vectors) <= 2.0**60
        total = np.ldexp(np.rint(np.ldexp(np.sum(vectors, axis=0), 60)), -60)
        now = [program.take(state, total, 3) for program, state in zip(programs, now, strict=True)]
    assert programs[0].encoding(now[0]).names == ("a", "c", "noise")
    np.testing.assert_allclose(now[0].fits["global"].theta, plain.fits["global"].theta, atol=1e-6)


def test_one_class_over_all_banks_too_few_rows_or_unknown_levels_stop_every_bank():
    frames = drawn(9, 200)
    for frame in frames:
        frame["label"] = 0
    with pytest.raises(DataError, match="one class"):
        add_up(market(frames))
    with pytest.raises(PolicyRefusal, match="minimum_cohort"):
        add_up(market(drawn(9, 200), minimum_cohort=10_000))
    with pytest.raises(DataError, match="levels"):
        add_up(market(drawn(9, 200), levels={}))
    with pytest.raises(ConfigurationError, match="iv_min"):
        market(drawn(9, 200), select=SelectSettings(iv_min=0.02))


def test_a_bank_with_one_class_has_no_local_model_and_says_why():
    frames = drawn(10, 400)
    frames[2]["label"] = 0
    programs = market(frames, intercept="per bank")
    done = add_up(programs)
    assert done[0].fits["per bank"].converged
    assert "one class" in done[2].models["local"].reason
    document = share_document(programs[2], done[2], "bank")
    assert "local" not in document["own"]["figures"]
    assert document["own"]["figures"]["global"]["test"]["auc"] is None
    json.dumps(document, allow_nan=False)


# -- scorecards -------------------------------------------------------------------------------------------------------------------


def test_a_scorecard_equals_the_pooled_reference_on_the_same_bins():
    frames = drawn(12)
    programs = market(frames, model="scorecard", C=None, tolerance=1e-9)
    done = add_up(programs)
    encoding = programs[0].encoding(done[0])
    frame = pd.concat([f.sort_values("id") for f in frames]).set_index("id")
    train = np.concatenate([program.sample.train for program in programs])
    rows = PooledRows(frame.index.to_numpy(), frame["label"].to_numpy(float), frame["weight"].to_numpy(), train)
    rules = {}
    for part in encoding.columns:
        bins = part.bins
        cut = {"edges": list(bins.edges)} if bins.kind == "numeric" else {"groups": [list(g) for g in bins.groups], "other": bins.other}
        rules[part.column] = {"kind": "woe", "special": list(bins.special), "joined": list(bins.joined), **cut}
    wanted = pooled_fit(rows, {"all": frame[list(rules)]}, {"all": rules}, None)
    document = share_document(programs[0], done[0], "bank")
    fit = document["fits"]["global"]
    assert fit["converged"], fit["reason"]
    for name, value in wanted.standardized["all"].items():
        assert fit["standardized"][name] == pytest.approx(value, abs=1e-8)
    for part in encoding.columns:
        np.testing.assert_allclose(part.values[:-1], wanted.bins["all"][part.column].woe[:-1], atol=1e-10)
        assert document["iv"][part.column] == pytest.approx(wanted.bins["all"][part.column].iv, abs=1e-9)
    written = [scores(program, state, "bank", b"") for program, state in zip(programs, done, strict=True)]
    np.testing.assert_allclose(np.concatenate([part["score"] for part in written]), wanted.scores, atol=1e-7)
    for part in written:  # half a point for the base and for each characteristic
        exact = 600 - 20 / np.log(2) * (np.log(50) + part["score"])
        assert np.abs(part["points"] - exact).max() <= (len(encoding.columns) + 1) / 2
    json.dumps(document, allow_nan=False)


def test_a_scorecard_is_selected_by_information_value_and_no_coefficient_turns():
    frames = drawn(13)
    for frame in frames:
        frame["twin"] = frame["a"] + 1.0
    programs = market(frames, model="scorecard", C=None, signs="woe", select=SelectSettings(iv_min=0.02, corr_max=0.9))
    done = add_up(programs)
    log = {step.column: step.rule for step in done[0].selection.log}
    assert log["noise"] == "iv_min"
    assert log["twin"] == "corr_max" or log["a"] == "corr_max"
    assert "same" in log or any("'same'" in note for note in done[0].moments.notes)
    for fit in done[0].fits.values():
        assert (fit.theta[-len(programs[0].encoding(done[0]).names) :] <= 0).all()
    assert all(share_lines(program, state) == share_lines(programs[0], done[0]) for program, state in zip(programs, done, strict=True))


# -- real loans ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not SBA.is_dir(), reason=f"real loans of eight banks are not at {SBA}")
def test_a_scorecard_of_eight_banks_of_real_loans():
    frames = [pd.read_parquet(path) for path in sorted(SBA.glob("*.parquet"))]
    levels = {name: tuple(sorted({str(v) for f in frames for v in f[name].dropna()})) for name in ("naics_sector", "state")}
    tables = [table_of(frame) for frame in frames]
    samples = [draw_sample(table, SampleSettings(as_of=True)) for table in tables]
    made = settled(
        model="scorecard",
        C=None,
        signs="woe",
        intercept="per bank",
        select=SelectSettings(iv_min=0.02, corr_max=0.9, p_max=0.05),
    )
    programs = [Train(table, sample, made, levels, {}) for table, sample in zip(tables, samples, strict=True)]
    done = add_up(programs)
    documents = [share_document(program, state, f"bank{b}") for b, (program, state) in enumerate(zip(programs, done, strict=True))]
    json.dumps(documents, allow_nan=False)
    first = documents[0]
    assert all(fit["converged"] for fit in first["fits"].values())
    assert len({tuple(share_lines(program, state)) for program, state in zip(programs, done, strict=True)}) == 1
    assert len({document["own"]["points"]["base"] for document in documents}) > 1  # each bank's own base points
    print({name: figures["test"]["auc"]["value"] for name, figures in first["overall"].items()}, done[0].sums, "sums")
    assert first["overall"]["per bank"]["test"]["auc"]["value"] > 0.65


@pytest.mark.skipif(not SBA.is_dir(), reason=f"real loans of eight banks are not at {SBA}")
def test_eight_banks_of_real_loans():
    frames = [pd.read_parquet(path) for path in sorted(SBA.glob("*.parquet"))]
    assert len(frames) == 8
    categorical = ("naics_sector", "state")
    levels = {name: tuple(sorted({str(v) for f in frames for v in f[name].dropna()})) for name in categorical}
    tables = [table_of(frame) for frame in frames]
    samples = [draw_sample(table, SampleSettings(as_of=True, out_of_time_from="2006-01-01")) for table in tables]
    made = settled(intercept="per bank", select=SelectSettings(corr_max=0.9, vif_max=10, p_max=0.05))
    programs = [Train(table, sample, made, levels, {}) for table, sample in zip(tables, samples, strict=True)]
    done = add_up(programs)
    documents = [share_document(program, state, f"bank{b}") for b, (program, state) in enumerate(zip(programs, done, strict=True))]
    assert len({tuple(share_lines(program, state)) for program, state in zip(programs, done, strict=True)}) == 1
    first = documents[0]
    assert all(fit["converged"] for fit in first["fits"].values())
    assert {"gross_approved", "retained_job"} <= {step["column"] for step in first["selection"] if step["rule"] == "corr_max"}
    assert max(p for name, p in first["fits"]["per bank"]["p"].items() if "=" not in name and "missing" not in name) <= 0.05
    for b, (program, state) in enumerate(zip(programs, done, strict=True)):
        own = documents[b]["own"]["figures"]
        assert {"global", "per bank"} <= set(own)
        print(f"bank {b}: test AUC", {name: own[name]["test"]["auc"] for name in own})
        assert np.isfinite(state.models["per bank"].scores(program.table)).all()
    assert first["overall"]["per bank"]["test"]["auc"]["value"] > 0.6

    # the same selected design, pooled, with a dummy for each bank, in plain numpy
    design = [programs[0].encoding(done[0]).design(table.columns)[sample.train] for table, sample in zip(tables, samples, strict=True)]
    x = np.concatenate([np.column_stack([np.tile(np.eye(8)[b], (len(part), 1)), part]) for b, part in enumerate(design)])
    y = np.concatenate([table.label[sample.train] for table, sample in zip(tables, samples, strict=True)])
    ridge, theta = np.concatenate([np.zeros(8), np.ones(x.shape[1] - 8)]), np.zeros(x.shape[1])
    for _ in range(30):
        p = expit(x @ theta)
        theta = theta - np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + np.diag(ridge), x.T @ (p - y) + ridge * theta)
    np.testing.assert_allclose(done[0].fits["per bank"].theta, theta[8:], atol=1e-8)
    np.testing.assert_allclose([state.fits["per bank"].delta[0] for state in done], theta[:8], atol=1e-8)
