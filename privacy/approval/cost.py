"""What a run costs, in plain words: noise sum by sum, caps, and what becomes visible when consent is withdrawn or a bank is lost meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from federation.kernel.manifest import COMPARES, Manifest
from federation.models.horizontal.private_losses import sums
from federation.models.label_noise import chance
from federation.noise.accounting import epsilon_of


def cost_lines(manifest: Manifest) -> Iterator[str]:
    """Every line of the section."""
    privacy = manifest.privacy
    if manifest.is_check:
        yield from _check(manifest)
        return
    if privacy.epsilon is not None:
        yield from _sums(manifest)
    else:
        yield "no noise is added: what is released is exact" + (", but for the labels below" if privacy.label_noise is not None else "")
    yield from _labels(manifest)
    if not manifest.horizontal and manifest.task == "train":
        yield f"at most {privacy.max_score_reveals} score vectors to {manifest.label_party}, {privacy.max_answers:,} encrypted answers"
    cap = "a tenth of the bads in training" if privacy.max_released_counts is None else f"{privacy.max_released_counts:,}"
    if not manifest.horizontal:
        yield f"at most {cap} label-dependent counts to a partner"
    yield f"no fewer than {privacy.minimum_cohort} firms stand behind a number"
    yield from _withdrawal(manifest)
    if manifest.horizontal:
        yield from _lost(manifest)


def _check(manifest: Manifest) -> Iterator[str]:
    """What a check opens, and to whom."""
    check = manifest.check
    if manifest.task == COMPARES:
        yield f"for each of {len(check.pairs):,} pairs one exact number, without noise, to {check.asks} alone: how many are in common"
        yield f"a firm with fewer than {check.fewest} counterparties is not compared, and no firm in more than {check.max_repeats} runs"
        return
    yield f"exact counts of single keys, without noise, to {check.asks} alone: of {check.max_asked:,} of its own keys at most"
    yield f"another institution lists {check.max_listed:,} keys at most; one that breaks the protocol sees which of its own others have"
    yield f"it may ask about one key {check.max_repeats} times at most, as its own node counts; every run is one release of everybody's budget"
    yield f"a count of {len(manifest.members) - 1} says that all others have the key, and a count of 0 that none has: nothing hides that"
    yield "if a consent is withdrawn meanwhile, the run " + (
        "ends" if manifest.privacy.withdrawal == "abort" else "goes on without the row"
    )


def _sums(manifest: Manifest) -> Iterator[str]:
    """A table: each noisy sum alone, at the run's delta, and all together."""
    epsilon, delta = manifest.privacy.epsilon, manifest.privacy.delta
    assert epsilon is not None and delta is not None, "a run with noise states both"
    yield f"differential privacy: epsilon {epsilon:g}, delta {delta:g}, for the whole run, of any one row"
    taken = sums(manifest)
    width = max(map(len, ("together", *(name for name, _ in taken))))
    yield f"  {'sum with noise':{max(width, 14)}}  {'epsilon':>8}  {'delta':>7}"
    for name, rho in taken:
        yield f"  {name:{max(width, 14)}}  {epsilon_of(rho, delta):>8.3g}  {delta:>7.1g}"
    yield f"  {'together':{max(width, 14)}}  {epsilon:>8.3g}  {delta:>7.1g}"
    yield "together they cost less than their sum. A sum that is not in the table, or would cost more, is not sent, and ends the run"
    yield "each is counted before it leaves; what a run that ends early has not spent is given back"


def _labels(manifest: Manifest) -> Iterator[str]:
    """Turned labels, and what they do not cover."""
    noise, privacy = manifest.privacy.label_noise, manifest.privacy
    if noise is None:
        return
    yield (
        f"label noise: epsilon {noise:g}, delta 0, for each label of {manifest.label_party}: one in {1 / chance(noise):,.3g} is turned over "
        "before a partner receives counts per bin, totals and the share of bads"
    )
    if manifest.task != "train":
        return
    yield (
        "label noise does not cover the fit that follows: its sums and residuals are of the true labels, and a partner that crafts columns can "
        "read labels off them"
    )
    yield (
        f"what limits the fit: the columns of this manifest and no others, {privacy.max_answers:,} encrypted answers, "
        f"{privacy.max_score_reveals} score vectors, and by the default policy ten rows for each parameter (contract logistic)"
    )


def _withdrawal(manifest: Manifest) -> Iterator[str]:
    """What happens when a consent is withdrawn meanwhile, and who can tell."""
    if manifest.privacy.withdrawal == "abort":
        yield "if a consent is withdrawn meanwhile, the run ends"
        return
    yield "if a consent is withdrawn meanwhile, the run goes on without the row"
    if not manifest.horizontal:
        yield (
            "  late in a fit a partner can then find which firm it was and whether it was bad, and the label party which of its firms withdrew "
            'at a partner (measured: contract logistic). With withdrawal = "abort" neither can'
        )
    elif manifest.privacy.epsilon is None:
        yield (
            "  every bank can then take the sums before and after from each other, and the difference is the row: late in a fit its values and "
            "its label, in binning its bin of every column; and how many rows went shows (measured: contract banks). With withdrawal = "
            '"abort" no sum is taken without it'
        )
    else:
        yield "  the sums before and after carry noise: what they tell of the row is within the epsilon above"


def _lost(manifest: Manifest) -> Iterator[str]:
    """What happens when a bank is lost meanwhile."""
    if manifest.banks.drop_outs == "stop":
        yield "if a bank is lost meanwhile, the run ends: no sum is opened without it"
        return
    yield "if a bank is lost meanwhile, the run goes on without it"
    noise = "" if manifest.privacy.epsilon is None else ", but for the noise, which hides a row and not a bank"
    yield (
        "  the others can then take the first sum without it from the last with it: its own part, roughly early in a fit, and as good as "
        f'exactly near its end{noise} (measured: contract banks). With few rows that tells rows. With drop_outs = "stop" the run ends instead'
    )
