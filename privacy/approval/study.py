"""A study: one approval for the many runs that a scorecard takes, within columns, purpose, kinds of model, and totals.

A run inside the study needs no vote of its own; the first thing in which it goes beyond sends it back to a vote. Totals count what runs could
have released under their manifests' caps, not what they did: a run that was opened has used its share.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import Manifest
from federation.kernel.manifest_rules import is_moment
from privacy.purposes import RUN_PURPOSES

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Study(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """name: as manifests give it; parties: the others that may take part; columns: of this institution; tasks, models, purpose, requested_by:
    what its runs may be; highest_level: of columns; runs, reveals, answers: in total; epsilon, delta: in total, epsilon 0 for runs without
    noise alone, above 0 for runs with noise alone; visibility, disclosures: settings of [align] and [privacy] that its runs may have;
    expires: UTC.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    parties: tuple[str, ...]
    columns: tuple[str, ...]
    purpose: str
    tasks: tuple[str, ...] = ("train", "binning")
    models: tuple[str, ...] = ("scorecard",)
    requested_by: tuple[str, ...] = ("modeller",)
    visibility: tuple[str, ...] = ("hidden",)
    disclosures: tuple[str, ...] = ()
    highest_level: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3
    minimum_cohort: Natural = 10
    runs: Annotated[int, msgspec.Meta(ge=1)] = 200
    reveals: Natural = 8_000
    answers: Natural = 4_000_000
    epsilon: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    delta: Annotated[float, msgspec.Meta(ge=0)] = 1e-6
    expires: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    def require(self, now: str) -> None:
        """That a run could be inside: what it names is there to be named, and it has not expired. now: ISO 8601, UTC.

        Raises ConfigurationError.
        """
        for key, given, allowed in (
            ("purpose", (self.purpose,), RUN_PURPOSES), ("tasks", self.tasks, _TASKS), ("models", self.models, _MODELS),
            ("visibility", self.visibility, _VISIBILITIES), ("disclosures", self.disclosures, _DISCLOSURES),
        ):  # fmt: skip
            if wrong := [name for name in given if name not in allowed]:
                raise ConfigurationError(f"study: {key}", f"{wrong[0]!r} is none", f"Use {', '.join(allowed)}.")
        for key in ("parties", "columns", "tasks"):
            if not getattr(self, key):
                raise ConfigurationError(f"study: {key}", "none is named, so that no run could be of the study", "Name one at least.")
        if not is_moment(self.expires) or self.expires <= now:
            raise ConfigurationError("study: expires", "is no moment that is still to come", 'Write it like "2027-03-31T00:00:00Z".')

    @property
    def hash(self) -> bytes:
        """What a vote is about, 32 bytes."""
        return suite.digest("study", msgspec.json.encode(self, order="sorted"))


class Used(msgspec.Struct, frozen=True):
    """What a study's runs have used: their number, and the sums of their manifests' caps."""

    runs: int = 0
    reveals: int = 0
    answers: int = 0
    epsilon: float = 0.0
    delta: float = 0.0

    def plus(self, manifest: Manifest) -> Used:
        """After one more run."""
        mine = cost(manifest)
        return Used(
            self.runs + 1, self.reveals + mine.reveals, self.answers + mine.answers, self.epsilon + mine.epsilon, self.delta + mine.delta
        )


def cost(manifest: Manifest) -> Used:
    """What one run counts. Without noise a run over banks opens sums alone and reveals no score."""
    privacy = manifest.privacy
    trains_across = manifest.task == "train" and not manifest.horizontal
    answers = 0 if manifest.horizontal else privacy.max_answers
    return Used(1, privacy.max_score_reveals * trains_across, answers, privacy.epsilon or 0.0, privacy.delta or 0.0)


_TASKS = ("binning", "train", "statistics", "multi_lender", "shared_identity", "common_counterparties")
_MODELS, _VISIBILITIES = ("logistic", "scorecard"), ("hidden", "book", "intersection")
_DISCLOSURES = ("partner_disclosure", "max_released_counts", "single_partner_disclosure", "two_member_disclosure", "label_disclosure")
_SWITCHES = ("single_partner_disclosure", "two_member_disclosure", "label_disclosure")


def outside(study: Study, manifest: Manifest, me: str, used: Used, now: str) -> tuple[str, ...]:
    """In what a run goes beyond a study that this institution approved, in words; nothing where it is inside. now: ISO 8601, UTC."""
    columns, found = manifest.columns_of(me), []
    others = tuple(name for name in manifest.signers if name != me)
    total, privacy = used.plus(manifest), manifest.privacy
    aligned_otherwise = manifest.horizontal or manifest.is_check
    checks = (
        (manifest.study == study.name, "it is not of this study"),
        (now < study.expires and manifest.expires <= study.expires, f"the study ends on {study.expires}, and the run could go on after it"),
        (set(others) <= set(study.parties), "other institutions take part"),
        ({column.name for column in columns} <= set(study.columns), "it uses columns that the study does not have"),
        (all(column.level <= study.highest_level for column in columns), f"it uses columns above level {study.highest_level}"),
        (manifest.purpose == study.purpose, f"its purpose is not {study.purpose!r}"),
        (manifest.task in study.tasks, f"its task is {manifest.task!r}"),
        (manifest.task == "statistics" or manifest.is_check or manifest.model in study.models, f"its model is {manifest.model!r}"),
        (manifest.requested_by in study.requested_by, f"a {manifest.requested_by} asks for it"),
        (aligned_otherwise or manifest.align.visibility in study.visibility, f"its visibility is {manifest.align.visibility!r}"),
        (privacy.minimum_cohort >= study.minimum_cohort, f"its minimum cohort is below {study.minimum_cohort}"),
        (privacy.partner_disclosure == "direction" or "partner_disclosure" in study.disclosures, "it shows a validator more of the bins"),
        (total.runs <= study.runs, f"it would be run {total.runs} of {study.runs}"),
        (total.reveals <= study.reveals, f"with it {total.reveals:,} score vectors could be shown, and {study.reveals:,} may be"),
        (total.answers <= study.answers, f"with it {total.answers:,} answers could be given, and {study.answers:,} may be"),
        (total.epsilon <= study.epsilon + 1e-9, f"with it epsilon comes to {total.epsilon:g}, and {study.epsilon:g} may be spent"),
        (total.delta <= study.delta * (1 + 1e-9), f"with it delta comes to {total.delta:g}, and {study.delta:g} may be spent"),
        (not study.epsilon or privacy.epsilon is not None, "it adds no noise, and the study is of runs with noise"),
        (
            privacy.max_released_counts is None or "max_released_counts" in study.disclosures,
            "it sets its own cap on counts released to a partner",
        ),
    )
    found += [words for holds, words in checks if not holds]
    found += [f"it has {name} = true" for name in _SWITCHES if getattr(privacy, name) and name not in study.disclosures]
    return tuple(found)
