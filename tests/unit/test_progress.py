"""What a simulation over many banks shows: the estimate before, the bar by sum, the models side by side after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from server.result import parse
from server.run_file import RunFile, load
from simulations import progress
from simulations.estimate import bank_sums, estimate, estimate_banks
from simulations.progress import Screen
from tests.unit.sample_bank_result import bank_result, statistics_result
from tests.unit.sample_result import sample_result

BANKS = ("bank-a", "bank-b", "bank-c")


def _settings(folder: Path, head: str, *, label: bool = True) -> RunFile:
    parties = [
        f'[[party]]\nname = "{name}"\nrole = "bank"\nsource = "x.parquet"\nid = "id"\n' + ('label = "bad"\n' if label or not number else "")
        for number, name in enumerate(BANKS)
    ]
    (folder / "x.parquet").touch()
    path = folder / "run.toml"
    path.write_text(head + "\n" + "\n".join(parties))
    return load(path)


@pytest.fixture
def settings(tmp_path: Path) -> RunFile:
    return _settings(tmp_path, '[run]\ntask = "train"\nmodel = "scorecard"\n')


def _shown(screen: Screen) -> tuple[str, float, str]:
    (task,) = screen._bar.tasks
    return task.description, task.completed, task.fields["figures"]


def test_the_bar_follows_the_sums_and_never_goes_back_nor_fills(settings: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    screen = Screen(settings)
    screen.coordinator("levels", 3)
    assert _shown(screen)[0].startswith("levels")
    before = -1.0
    for number in range(60):
        screen.party("bank-a", {"phase": "sum", "number": number, "banks": 3, "step": "fit", "iteration": 2})
        screen.coordinator(f"sum {number}", number)
        description, completed, figures = _shown(screen)
        assert description == f"sum {number + 1}: fit, iteration 2"
        assert figures.startswith("3 banks")
        assert ("s left" in figures) == (number >= 3)
        assert before <= completed < 1.0
        before = completed
    screen.coordinator("finish", 61)
    assert _shown(screen)[1] == 0.97


def test_a_plan_without_steps_shows_the_number_alone(settings: RunFile) -> None:
    screen = Screen(settings)
    screen.party("bank-b", {"phase": "sum", "number": 0, "banks": 3})
    assert _shown(screen) == ("sum 1", 0.05, "3 banks")


def _summary(settings: RunFile, result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    result = result | {"run": result["run"] | {"model": "logistic"}}
    Screen(settings).summary(parse(result), Path("out"))
    return re.sub(r"\s+", " ", re.sub(r"[│┃┏┓┗┛┡┩├┤━─┳╇┴]", " ", capsys.readouterr().out))


def test_the_summary_has_the_models_side_by_side_and_no_bank_alone_column(settings: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    text = _summary(settings, bank_result(), capsys)
    assert "Banks side by side, test rows of 3 banks" in text
    assert "Common model 0.7000 0.3000 1 bank 0.7010 0.3010" in text
    assert "Bank alone 0.7033 0.3033 2 banks 0.7050 0.3050" in text
    assert "pooled AUC" in text
    assert "bank alone AUC" not in text


def test_the_summary_of_other_runs_keeps_its_column(settings: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    text = _summary(settings, sample_result(), capsys)
    assert "0.6680" in text
    assert "side by side" not in text


def test_the_summary_of_statistics(settings: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    text = _summary(settings, statistics_result(), capsys)
    assert "Statistics of 4 columns over 2,100 rows, opened in 3 sums." in text


@pytest.mark.parametrize(
    ("head", "seconds", "megabytes"),
    [  # measured with eight banks, 9,000 rows, 13 numeric and 2 categorical columns on two cores
        ('task = "train"\nmodel = "logistic"', 4.5, 10.6),
        ('task = "train"\nmodel = "scorecard"', 6.0, 16.2),
        ('task = "statistics"', 3.4, 34.6),
        ('task = "binning"\nmodel = "scorecard"', 2.9, 13.0),
    ],
)
def test_the_estimate_is_near_what_was_measured(tmp_path: Path, head: str, seconds: float, megabytes: float) -> None:
    rows = {f"bank-{n}": 1125 for n in range(8)}
    guess = estimate_banks(rows, 13, 2, _settings(tmp_path, f"[run]\n{head}\n"))
    assert guess == (pytest.approx(seconds, rel=0.5), pytest.approx(megabytes, rel=0.5))
    more = estimate_banks(rows | {"bank-8": 1125}, 26, 2, _settings(tmp_path, f"[run]\n{head}\n"))
    assert more > guess
    assert more[1] > guess[1]


def test_own_slopes_cost_more_sums(tmp_path: Path, settings: RunFile) -> None:
    personal = _settings(tmp_path, '[run]\nmodel = "scorecard"\n[model]\nC = 1.0\npersonal_C = 1.0\nmissing = "bin"\n')
    assert bank_sums(personal) > bank_sums(settings)


@pytest.mark.parametrize(
    ("model", "firms", "seconds", "megabytes"),
    [  # bytes that were sent, and seconds of processor time, of the world's own run files
        ("logistic", 1_000, 25, 220.5),
        ("logistic", 5_000, 25, 195.6),
        ("scorecard", 20_000, 35, 161.7),
    ],
)
def test_the_estimate_across_parties_is_near_what_was_measured(
    tmp_path: Path, model: str, firms: int, seconds: float, megabytes: float
) -> None:
    across = _settings(tmp_path, f'[run]\nmodel = "{model}"\n', label=False)
    guess = estimate({"bank-a": firms, "bank-b": firms, "bank-c": firms}, dict.fromkeys(BANKS, 9), across)
    assert guess == (pytest.approx(seconds, rel=0.5), pytest.approx(megabytes, rel=0.35))


def test_the_bar_shows_the_fit_and_the_time_left_and_never_goes_back(settings: RunFile) -> None:
    screen, shown = Screen(settings), []
    task = screen._bar.tasks[0]
    for exchange, stage in enumerate(("open", "align", "align", "fit 0", "fit 0"), 1):
        screen.coordinator(stage, exchange)
        shown.append((task.description, task.completed, task.fields["figures"]))
    assert shown[-1][0] == "prepare the fit (exchange 5)"
    for number in range(1, 8):
        screen.party("bank-a", {"phase": "fit", "iteration": number, "loss": 0.5, "step": 10.0**-number})
        screen.coordinator(f"fit {number}", 5 + number)
        shown.append((task.description, task.completed, task.fields["figures"]))
    assert shown[-1][0] == "fit, iteration 7"
    done = [completed for _, completed, _ in shown]
    assert done == sorted(done) and done[-1] < 1
    screen.coordinator("align", 20)
    assert task.completed >= done[-1]
