"""What goes together in a run file: tables that a run reads nothing of, and keys that this kind of run does not have.

A table by itself is checked where it is read (`run_tables`, `run_file`); here every rule looks at two of them or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import CHECKS, FEWEST_BANKS, MOST_BANKS, SelectSettings
from server.run_tables import AlignSettings, ModelTable, Party, PrivacyTable, RunSettings, SampleTable

_FEWEST_PARTIES, _MOST_PARTIES = 2, 8
_PARTNERS = (
    "single_partner_disclosure", "two_member_disclosure", "label_disclosure", "max_score_reveals", "max_released_counts", "partner_disclosure",
    "label_noise",
)  # fmt: skip
_BANKS = "Leave it out: it is for runs across parties, where one [[party]] alone has a label."
_ACROSS = "Leave it out: it is for runs over many banks, where every [[party]] has a label."


def check_models(
    file: str, run: RunSettings, model: ModelTable, sample: SampleTable, select: SelectSettings, align: AlignSettings, privacy: PrivacyTable,
    parties: tuple[Party, ...],
) -> None:  # fmt: skip
    """What a run that is no check must be besides."""
    _check_consortium(file, parties, run, privacy)
    if len(parties) == sum(party.has_outcomes for party in parties):
        _check_banks(file, select, align, privacy, binned=binned_run(run))
    else:
        _check_across(file, run, model, select, privacy)
        _check_label_noise(file, run, sample, privacy)


def binned_run(run: RunSettings) -> bool:
    """Whether columns are binned."""
    return run.model == "scorecard" or run.task == "binning"


def refuse_unused(file: str, raw: Mapping[str, Any], run: RunSettings, *, over_banks: bool) -> None:
    """Tables that this run would read nothing of: what stands there may be meant for another run.

    [binning] min_share pools rare levels of plain columns too, across parties, and its special values are missing ones to statistics.
    """
    training = run.task == "train"
    unused = {
        "binning": (over_banks and training and run.model == "logistic") or run.task in CHECKS,
        "scorecard": not (training and run.model == "scorecard"),
        "model": run.task == "statistics" or run.task in CHECKS, "select": not training, "check": run.task not in CHECKS,
        "align": run.task in CHECKS, "sample": run.task in CHECKS,
    }  # fmt: skip
    for table, idle in unused.items():
        if idle and raw.get(table) and set(raw[table]) - {"drop_sources"}:
            asked = f"task {run.task!r}" + (f" and model {run.model!r}" if training else "")
            raise ConfigurationError(f"{file}: [{table}]", f"a run with {asked} uses nothing of it", "Leave the table out.")


def _check_consortium(file: str, parties: tuple[Party, ...], run: RunSettings, privacy: PrivacyTable) -> None:
    """Names, who has a label, and how many there are."""
    names = [party.name for party in parties]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{file}: [[party]] {name}", "two parties have this name", "Give every party its own name.")
    labelled = [party.name for party in parties if party.has_outcomes]
    if len(labelled) == len(parties) > 1:
        _check_bank_count(file, len(parties))
        return
    if not _FEWEST_PARTIES <= len(parties) <= _MOST_PARTIES:
        action = f"A run across parties takes {_FEWEST_PARTIES} to {_MOST_PARTIES}."
        raise ConfigurationError(file, f"it has {len(parties)} [[party]] sections", action)
    if not labelled:
        action = 'Give the bank its label column: label = "label", or its repayment table, with [target].'
        raise ConfigurationError(file, "no party has a label", action)
    if len(labelled) > 1:
        what = f"{len(labelled)} parties have a label ({', '.join(labelled)}); several label parties beside others are not available yet"
        raise ConfigurationError(file, what, "Leave the label to one bank, or give every party one: a run over many banks.")
    if run.task == "train" and len(parties) == _FEWEST_PARTIES and not privacy.single_partner_disclosure:
        raise ConfigurationError(
            f"{file}: [privacy] single_partner_disclosure",
            "with one feature party the label party sees that party's score of each of its own rows",
            "Add a second feature party, or accept it with single_partner_disclosure = true.",
        )


def _check_bank_count(file: str, count: int) -> None:
    if not FEWEST_BANKS <= count <= MOST_BANKS:
        action = f"A run over many banks takes {FEWEST_BANKS} to {MOST_BANKS}; of two, each would learn the other's numbers."
        raise ConfigurationError(file, f"it has {count} [[party]] sections, each with a label", action)


def _check_banks(file: str, select: SelectSettings, align: AlignSettings, privacy: PrivacyTable, *, binned: bool) -> None:
    """Keys of runs across parties in a run over many banks, and what it cannot do with this model."""
    given = ["[align] from"] * (align.folder is not None) + ["[align] visibility"] * (align.visibility != "hidden")
    given += [f"[privacy] {key}" for key in _PARTNERS if getattr(privacy, key) != getattr(PrivacyTable(), key)]
    if given:
        raise ConfigurationError(
            f"{file}: {given[0]}", "says nothing in a run over many banks: no firm is aligned and no partner served", _BANKS
        )
    if select.iv_min is not None and not binned:
        raise ConfigurationError(f"{file}: [select] iv_min", "needs bins, and this model has none", 'Use [run] model = "scorecard".')


def _check_label_noise(file: str, run: RunSettings, sample: SampleTable, privacy: PrivacyTable) -> None:
    """Label noise is on the labels that counts per bin are taken of."""
    if privacy.label_noise is None:
        return
    where = f"{file}: [privacy] label_noise"
    if not binned_run(run):
        raise ConfigurationError(where, "a model on plain columns takes no counts per bin", 'Leave it out, or use model = "scorecard".')
    if sample.weight is not None:
        raise ConfigurationError(
            where, "weights are told without noise, and may tell the label", "Leave out [sample] weight, or label_noise."
        )


def _check_across(file: str, run: RunSettings, model: ModelTable, select: SelectSettings, privacy: PrivacyTable) -> None:
    """Keys of runs over many banks in a run across parties."""
    if run.task == "statistics":
        raise ConfigurationError(
            f"{file}: [run] task", "statistics across parties are not available yet in this version", "Give every [[party]] a label."
        )
    steps = ("iv_min", "corr_max", "vif_max", "p_max")
    given = [f"[select] {key}" for key in steps if getattr(select, key) is not None]
    given += ["[model] intercept"] * (model.intercept != "common") + ["[model] personal_C"] * (model.personal_C is not None)
    given += ["[privacy] threshold"] * (privacy.threshold is not None) + ["[privacy] drop_outs"] * (privacy.drop_outs != "continue")
    given += [f"[privacy] {key}" for key in ("epsilon", "delta") if getattr(privacy, key) is not None]
    if given:
        raise ConfigurationError(f"{file}: {given[0]}", "is not available yet in a run across parties", _ACROSS)
