"""The words of a report, for a reader who meets them for the first time."""

from __future__ import annotations

GLOSSARY = (
    ("Absent", "A firm that a partner does not know. It is kept: a bin of its own in a scorecard, the average otherwise."),
    ("AUC", "The chance that the model ranks a random bad firm as riskier than a random good one. 0.5 is guessing, 1 is perfect."),
    ("Brier score", "The mean squared difference between the predicted chance of being bad and what happened. Lower is better."),
    ("Calibration", "Whether a predicted bad rate of, say, 10 % really is 10 %. A model can rank well and be badly calibrated."),
    ("Converged", "The fit ended because another step would not change the model, and not because a limit was reached."),
    ("Feature party", "An institution that contributes columns but knows no outcomes: a platform or a tax bureau."),
    ("Gini", "Twice the AUC less one: 0 is guessing, 1 is perfect."),
    ("Goods and bads", "Firms that repaid and firms that defaulted, by the label party's definition."),
    ("Interval", "Where the figure would lie in 95 of 100 samples like this one, found by resampling the rows (bootstrap)."),
    ("IV", "Information value: how strongly a column separates goods from bads. Below 0.02 useless, above 0.5 suspicious."),
    ("KS", "The largest gap between the shares of goods and of bads below a score. 0 is guessing, 1 is perfect."),
    ("Label party", "The institution that knows who repaid: a bank."),
    ("Leakage contract", "A signed statement of who learns what from a protocol, tested by attacks that must fail."),
    ("Log loss", "How surprised the model is by what happened, on average. Lower is better."),
    ("Manifest", "The plan of the run: purpose, parties, columns, model and limits. Every institution signs its hash."),
    ("Out of time", "Rows after the training period: the hardest and most honest test."),
    ("PDO", "Points to double the odds: so many more points mean twice as many goods to one bad."),
    ("Pooled", "The same model fitted on one joined table, as if the institutions had handed over their data."),
    ("Score reveal", "A vector of partial scores that the label party sees during a fit. Each tells one dimension of the partners' data."),
    ("Universe", "The list of anonymous positions to which the parties' rows were aligned, padding counted."),
    ("WOE", "Weight of evidence: the logarithm of a bin's share of all goods over its share of all bads. Above zero is safer."),
)
_NOT_OVER_BANKS = ("Absent", "Feature party", "Label party", "Score reveal", "Universe")
_OVER_BANKS = (
    ("Common model", "One set of coefficients for all banks, equal to the fit on all their rows together, though no row left its bank."),
    ("Masked sum", "Every bank adds random numbers that cancel in the total: the total can be read, no bank's part of it can."),
    ("Minimum cohort", "Fewer rows than this are never told of: a figure about them is withheld or merged with another."),
    ("Personal slopes", "Each bank's coefficients lie between the common ones and its own: the more rows, the nearer to its own."),
    ("PSI", "Population stability index: how far a distribution has moved. Below 0.1 little, above 0.25 much."),
    ("Standard error", "How far a coefficient would vary in other samples. z: the coefficient over it; p: the chance of such a z by luck."),
    ("VIF", "Variance inflation: how much less certain a coefficient is because other columns tell the same. Above 5 is much."),
)  # fmt: skip
TARGET_GLOSSARY = (
    ("Indeterminate", "A row that was neither clearly good nor clearly bad: late, but not late enough. It is counted and trains no model."),
    ("Performance window", "The months after a row's date in which the firm's repayments decide whether the row was good or bad."),
    ("Roll rate", "The share of loans in one state of arrears that are in another a month later, or at worst in the performance window."),
    ("Vintage", "The loans opened in one quarter, followed by their age: which share of them was bad by so many months on book."),
)
"""Of runs whose outcomes are made of repayments."""


def glossary(*, over_banks: bool = False, with_target: bool = False) -> tuple[tuple[str, str], ...]:
    """The words that a report uses, in order."""
    plain = (*(row for row in GLOSSARY if row[0] not in _NOT_OVER_BANKS), *_OVER_BANKS) if over_banks else GLOSSARY
    return tuple(sorted((*plain, *(TARGET_GLOSSARY if with_target else ())), key=lambda row: row[0].lower()))
