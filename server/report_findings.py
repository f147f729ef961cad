"""What a reader should notice first: the verdict on a run and its warnings, each drawn from result.json by a stated rule.

The bands are rules of thumb of the trade (IV: Siddiqi 2017, chapter 10; AUC: Hosmer, Lemeshow and Sturdivant 2013, section 5.2.4), meant
for a first reading and no acceptance test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from server.report_banks import chosen_fit, common_columns, compared, is_over_banks, lost, side_by_side
from server.result import Check, Metrics, PartyFacts, Result, Split

if TYPE_CHECKING:
    from collections.abc import Iterator

Level = Literal["good", "notice", "warning", "alarm"]

SUSPICIOUS_IV, IMPLAUSIBLE_IV = 0.5, 1.0
OVERFIT, DECAY, WIDE = 0.05, 0.05, 0.10
AUC_BANDS = ((0.6, "barely"), (0.7, "weakly"), (0.8, "acceptably"), (0.9, "well"))
SUSPICIOUS_AUC = 0.95
PAIR, COHORT, FEW = 2, 10, 10
"""A bank and one partner; the default minimum_cohort; training firms for each partner column below which its owner learns much of outcomes
(measured: privacy/contracts/logistic.toml).
"""


@dataclass(frozen=True)
class Finding:
    """A line for the reader: how much it matters, a headline and an explanation that ends in what to do."""

    level: Level
    title: str
    text: str


def verdict(result: Result) -> Finding:
    """The run in one line."""
    if result.check is not None:
        return _checked(result.check)
    if is_over_banks(result) and not (result.banks and result.banks.fits):
        return _told(result)
    split, name = _judged(result.metrics)
    if split is None or split.auc is None:
        ranking = "There is no figure of how well it ranks: no test split with both goods and bads."
    else:
        words = next((words for bound, words in AUC_BANDS if split.auc < bound), "very well")
        interval = _interval(split)
        ranking = f"On the {name} rows it separates goods from bads {words}: AUC {split.auc:.3f}{interval}."
    if result.converged is False:
        return Finding("alarm", "Not converged", f"{why_not_converged(result)} {ranking} Do not use its coefficients as final.")
    fit = chosen_fit(result.banks)
    steps = fit.iterations if fit else result.cost.iterations if result.cost else None
    done = "" if result.converged is None else f"It converged{f' in {steps} iterations' if steps else ''}. "
    level: Level = "notice" if split is None or split.auc is None or split.auc < AUC_BANDS[0][0] else "good"
    return Finding(level, "Model trained", done + ranking)


def _checked(check: Check) -> Finding:
    """A check across institutions."""
    asked, flagged = check.asked or 0, check.flagged or 0
    if check.pairs:
        gone = f" {check.not_compared} could not be compared." if check.not_compared else ""
        text = (
            f"{check.asks} compared the counterparties of {asked:,} pairs of firms: {flagged:,} have {check.limit} or more in common.{gone}"
        )
        return Finding("notice" if flagged or gone else "good", "Check done", f"{text} Which counterparties these are, nobody was told.")
    text = f"{check.asks} asked {check.others} other institutions about {asked:,} keys: {flagged:,} are at its limit of {check.limit} or above."
    return Finding("notice" if flagged else "good", "Check done", f"{text} Which institutions the counts are of, nobody was told.")


def _told(result: Result) -> Finding:
    """A run over many banks that fits nothing: statistics, or bins."""
    gone = lost(result)
    banks = len(result.parties or ()) - len(gone)
    over = f" over {banks} banks" if banks else ""
    ended = f" {len(gone)} of {len(result.parties or ())} banks did not stay to the end." if gone else ""
    level: Level = "notice" if gone else "good"
    if result.statistics is None:
        binned = sum(len(of) for of in ((result.model.bins if result.model else None) or {}).values())
        return Finding(level, "Bins found", f"Common bins of {binned} columns{over}.{ended}")
    rows, columns = result.statistics.get("rows"), len(result.statistics.get("columns") or ())
    of = f" and {rows:,} rows" if isinstance(rows, int) else ""
    return Finding(level, "Statistics computed", f"{columns} columns{over}{of}.{ended}")


def why_not_converged(result: Result) -> str:
    """The reason the fit ended early, as far as the document tells."""
    if result.stop_reason:
        return f"The fit ended early: {result.stop_reason.rstrip('.')}."
    privacy = result.privacy
    if privacy and privacy.score_reveals and privacy.max_score_reveals and privacy.score_reveals >= privacy.max_score_reveals:
        return f"The fit ended at the cap of {privacy.max_score_reveals} score vectors (max_score_reveals)."
    return "The fit ended before its steps became small; the document gives no reason."


def findings(result: Result) -> tuple[Finding, ...]:
    """Every warning, gravest first."""
    grave: dict[Level, int] = {"alarm": 0, "warning": 1, "notice": 2, "good": 3}
    found = [*_columns(result), *_reveals(result), *_lifted(result), *_metrics(result), *_parties(result), *_gain(result), *_banks(result)]
    if result.converged is False:
        text = why_not_converged(result) + " Raise the cap or the iterations and run again."
        found.append(Finding("alarm", "The fit did not converge", text))
    return tuple(sorted(found, key=lambda finding: grave[finding.level]))


def _columns(result: Result) -> Iterator[Finding]:
    for party in common_columns(result.parties or ()) if is_over_banks(result) else result.parties or ():
        for column in party.columns or ():
            if column.iv is None or column.iv <= SUSPICIOUS_IV:
                continue
            name = f"{party.name} / {column.name}"
            if column.iv > IMPLAUSIBLE_IV:
                text = (
                    f"IV {column.iv:.2f} is above {IMPLAUSIBLE_IV:g}. A column known before the loan is almost never this strong: it very "
                    "likely carries the outcome itself (a date, a status or a term written after default). "
                    "Take it out until its origin is clear."
                )
                yield Finding("alarm", f"{name}: implausibly predictive", text)
            else:
                question = "Was it recorded before the cut-off date?"
                text = f"IV {column.iv:.2f} is above {SUSPICIOUS_IV:g}: suspicious, check for a leak. {question}"
                yield Finding("warning", f"{name}: suspiciously predictive", text)


def _reveals(result: Result) -> Iterator[Finding]:
    privacy = result.privacy
    if privacy is None or privacy.score_reveals is None:
        return
    seen, columns = privacy.score_reveals, privacy.partner_columns
    if columns is not None and seen >= columns > 0:
        text = (
            f"The label party saw {seen} vectors of partial scores and the partners contribute {columns} columns "
            f"(k = {seen} >= {columns}). It therefore holds the partners' columns, for its own rows, up to an unknown "
            "linear map: with a few known values it could "
            "solve for them. Partners should treat these columns as disclosed to that extent; max_score_reveals lowers k."
        )
        yield Finding("warning", "Score vectors span the partners' columns", text)
    else:
        bound = f" of the {columns}" if columns else ""
        text = f"The label party saw {seen} vectors of partial scores: {seen}{bound} dimensions of the partners' columns for its own rows."
        yield Finding("notice", "Score vectors seen by the label party", text)


def _lifted(result: Result) -> Iterator[Finding]:
    """What the institutions gave up beyond the defaults, each by its key in the run file: who now knows what of whom."""
    privacy, parties = result.privacy, result.parties or ()
    if privacy is None or is_over_banks(result):
        return
    train = result.metrics.train if result.metrics else None
    if privacy.single_partner_disclosure and len(parties) == PAIR:
        text = (
            "There is one feature party, so no sum hides it: the bank saw that party's score of each of its own firms, and each of the two "
            "learned the other's part of the optimiser's inner products. Both agreed (single_partner_disclosure). A second feature party "
            "would hide it."
        )
        yield Finding("warning", "The bank saw the single partner's scores", text)
    if privacy.label_disclosure or privacy.max_released_counts is not None:
        key = "label_disclosure" if privacy.label_disclosure else "max_released_counts"
        bads = train.bads if train else None
        usual = f", where {bads // 10} for each is the default with {bads} bads in training" if bads is not None else ""
        text = (
            f"Partners were told {privacy.releases or 0} counts of good and bad firms{usual}. From so many a partner can work out whether "
            f"single firms defaulted: treat the outcome of every firm in training as known to it. All institutions agreed ({key})."
        )
        partners = max(len(parties) - 1, 1)
        if privacy.releases and (bads is None or privacy.releases > partners * (bads // 10)):
            yield Finding("warning", "A partner can work out who defaulted", text)
    if privacy.minimum_cohort is not None and privacy.minimum_cohort < COHORT:
        text = (
            f"Bins and cohorts may be as small as {privacy.minimum_cohort} firms, where {COHORT} is the default: what is told of so few is "
            "nearly told of each of them. All institutions agreed (minimum_cohort)."
        )
        yield Finding("warning", "Very small groups were counted", text)
    rows, columns = (train.n if train else None), privacy.partner_columns
    if rows and columns and rows < FEW * columns:
        text = (
            f"{columns} columns of partners and {rows} firms in training: each column gives its owner one equation in the firms' outcomes. "
            "With a column for every firm it could solve for them all; with these it knows more than chance. Use fewer columns or more firms."
        )
        yield Finding("warning", "Few firms for so many columns", text)


def _metrics(result: Result) -> Iterator[Finding]:
    if is_over_banks(result) and not (result.banks and result.banks.fits):
        return
    metrics = result.metrics or Metrics()
    train, later = metrics.train, metrics.out_of_time
    split, name = _judged(metrics)
    if split is None or split.auc is None:
        text = "Only rows that the model was fitted on were measured. Set a holdout."
        yield Finding("notice", "No independent test figure", text)
        return
    if train and train.auc is not None and metrics.test and metrics.test.auc is not None and train.auc - metrics.test.auc > OVERFIT:
        fall = train.auc - metrics.test.auc
        text = f"AUC falls by {fall:.3f} from train to test. Use fewer or wider bins, or a stronger penalty."
        yield Finding("warning", "Overfitting", text)
    if later and later.auc is not None and metrics.test and metrics.test.auc is not None and metrics.test.auc - later.auc > DECAY:
        fall = metrics.test.auc - later.auc
        text = f"AUC is {fall:.3f} lower on rows after the training period than on the test rows. Look for drift before relying on it."
        yield Finding("warning", "Weaker out of time", text)
    interval = (split.intervals or {}).get("auc")
    if interval and interval[1] - interval[0] > WIDE:
        width = interval[1] - interval[0]
        text = f"The 95 % interval of the AUC is {width:.2f} wide: the {name} split is small. Do not rank models by their third digit."
        yield Finding("notice", "Wide interval", text)
    if split.auc > SUSPICIOUS_AUC:
        text = f"AUC {split.auc:.3f} on the {name} rows is hardly ever reached in credit. Look for a column that knows the outcome."
        yield Finding("alarm", "Too good to be true", text)


def _parties(result: Result) -> Iterator[Finding]:
    for party in result.parties or ():
        if party.undated:
            text = (
                "One snapshot served every period, so its features may have been recorded after the decision they are used for. "
                "Say when it was taken ([[party]] taken), or give its rows their own months."
            )
            yield Finding("warning", f"{party.name}: undated snapshot", text)
        yield from _later(party)
        if party.matched == 0:
            yield Finding("alarm", f"{party.name}: no row matched", "It contributed nothing. Compare the id formats of the parties.")


def _later(party: PartyFacts) -> Iterator[Finding]:
    """Values that were recorded after the day of the row that they are used for."""
    names = ", ".join(column.name for column in party.columns or ())
    of = f" of {party.compared:,}" if party.compared is not None else ""
    since = f" (its snapshot was taken on {party.taken})" if party.taken else ""
    advice = "Take the columns as of each row's own month (creditfed needs a date column in both tables), or leave them out."
    if party.later:
        text = (
            f"For {party.later:,}{of} of the bank's rows this party's values are of a later month than the row{since}: they may know the "
            f"outcome. Columns: {names}. {advice}"
        )
        yield Finding("alarm", f"{party.name}: recorded after the decision", text)
    elif party.perhaps_later:
        text = (
            f"This party's rows are dated, and the latest of them after {party.perhaps_later:,}{of} of the bank's rows: nothing ties them to "
            f"the rows' months. Columns: {names}. {advice}"
        )
        yield Finding("warning", f"{party.name}: perhaps recorded after the decision", text)


def _banks(result: Result) -> Iterator[Finding]:
    """Banks that were lost, and how the common model compares with each bank's own."""
    for name in lost(result):
        text = (
            "It was lost on the way and has no result. Totals from before hold its rows and later ones do not; no sum was taken again without "
            "it, since the difference would have shown its part. Near the end of a fit two sums tell about the same: see the contract of banks."
        )
        yield Finding("warning", f"{name}: dropped out", text)
    variant = (result.banks.variant if result.banks else None) or "global"
    for side in side_by_side(result.banks)[:1]:
        found = compared(side, "local", variant)
        if found is not None and 2 * found.better > found.banks:
            advice = "" if variant == "personal" else " Slopes of their own (personal_C) may close the gap."
            text = (
                f"On the {side.split} rows of {found.better} of {found.banks} banks the bank's own model has the higher AUC, on average by "
                f"{found.mean:+.3f} over all of them.{advice}"
            )
            yield Finding("warning" if found.apart else "notice", "Most banks do better alone", text)


def _gain(result: Result) -> Iterator[Finding]:
    """What the partners' columns bring over the label party's own."""
    ours, name = _judged(result.metrics)
    alone, other = _judged(result.pooled.label_party_alone if result.pooled else None)
    if not (ours and alone and ours.auc is not None and alone.auc is not None and name == other):
        return
    gain = ours.auc - alone.auc
    text = (
        f"AUC {ours.auc:.3f} on the {name} rows with the partners, {alone.auc:.3f} with the label party's own columns: "
        f"a difference of {gain:+.3f}."
    )
    if gain > 0:
        yield Finding("good", "What the partners add", text)
    else:
        yield Finding("warning", "The partners add nothing", text + " Ask whether their columns need to take part at all.")


def _judged(metrics: Metrics | None) -> tuple[Split | None, str]:
    """The split by which a model is judged: test, else out of time."""
    if metrics and metrics.test and metrics.test.auc is not None:
        return metrics.test, "test"
    return (metrics.out_of_time if metrics else None), "out-of-time"


def _interval(split: Split) -> str:
    interval = (split.intervals or {}).get("auc")
    return f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
