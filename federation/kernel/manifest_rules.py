"""What every node requires of any manifest, whoever wrote it, and reading one: anything but canonical bytes that keep the rules is refused."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, PeerError
from federation.kernel.known import known
from federation.kernel.manifest import (
    AGENCY,
    COMPARES,
    FEWEST_BANKS,
    FEWEST_IN_A_CHECK,
    FEWEST_REVEALS,
    MOST_BANKS,
    MOST_IN_A_CHECK,
    MOST_WITH_LEVELS,
    Manifest,
    TargetSettings,
)
from federation.kernel.role import COORDINATOR

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PARTY = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KEY = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
_MONTH = re.compile(r"[1-9]\d{3}-(?:0[1-9]|1[0-2])", re.ASCII)
_STUDY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
_PLACE = re.compile(r" - at `(\$[\w.\[\]]+)`$")
"""Where msgspec found a wrong value: of its text the path alone, since the rest may quote what was sent."""


@lru_cache(maxsize=4)
def read_manifest(raw: bytes, limit: int = 1 << 24) -> Manifest:
    """A manifest from its canonical bytes; anything else than canonical bytes is refused, so that a hash has one preimage.

    Raises PeerError, which names the place of a value that is out of range; ConfigurationError for what breaks `check_manifest`'s rules.
    """
    if len(raw) > limit:
        raise PeerError(COORDINATOR, f"a manifest of {len(raw)} bytes", f"at most {limit}")
    try:
        manifest = msgspec.json.decode(raw, type=known(Manifest), strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        found = f"a value that may not stand at {place[1]}" if place else "malformed bytes"
        raise PeerError(COORDINATOR, found, "a manifest") from None
    if manifest.canonical() != raw:
        raise PeerError(COORDINATOR, "a manifest that is not in canonical form", "canonical bytes")
    check_manifest(manifest)
    return manifest


def require_run_name(name: str) -> None:
    """A run's name is also a file's name at every node, so it can name nothing outside a folder. Raises ConfigurationError."""
    if not _RUN.fullmatch(name):
        raise ConfigurationError("manifest", "the run's name is not made of letters, digits, '.', '_' and '-'", "Name the run otherwise.")


def require_party_name(name: str) -> None:
    """What an institution or agency may be called in a run; the coordinator has its own name. Raises ConfigurationError."""
    if not _PARTY.fullmatch(name) or name == COORDINATOR:
        what = "is reserved" if name == COORDINATOR else "is not made of a-z, 0-9 and -, starting with a letter, up to 32 characters"
        raise ConfigurationError("party name", what, "Choose another name, such as bank-a.")


def check_manifest(manifest: Manifest) -> None:
    """What every node requires of any manifest, whoever wrote it. Raises ConfigurationError."""
    require_run_name(manifest.run)
    names = manifest.signers
    for name in names:
        require_party_name(name)
    if len(set(names)) != len(names) or COORDINATOR in names:
        raise ConfigurationError("manifest", "two parties have one name", "Give every [[party]] its own name.")
    keys = [manifest.coordinator, *(one.identity for one in manifest.institutions)]
    if not all(_KEY.fullmatch(key) and suite.is_signing_public(bytes.fromhex(key)) for key in keys) or len(set(keys)) != len(keys):
        raise ConfigurationError(
            "manifest", "two parties have one identity key, or a key is malformed", "Every party and the coordinator needs a key of its own."
        )  # fmt: skip
    if manifest.suite != suite.NAME:
        raise ConfigurationError("manifest", "it names another cipher suite", f"This version speaks {suite.NAME}.")
    if not is_moment(manifest.expires) or not _STUDY.fullmatch(manifest.study):
        what = "its expiry is not a time such as 2027-01-31T00:00:00Z, or its study's name is not made of letters, digits, '.', '_' and '-'"
        raise ConfigurationError("manifest", what, "Correct [run] study, or draft the manifest again.")
    _check_target(manifest)
    _check_sources(manifest)
    _check_noise(manifest)
    _check_agencies(manifest)
    (_check_check if manifest.is_check else _check_banks if manifest.horizontal else _check_partners)(manifest)


def _check_sources(manifest: Manifest) -> None:
    """What a run does without, nobody brings."""
    dropped = manifest.select.drop_sources
    if any(party.without(dropped) != party for party in manifest.parties):
        what = "it says that a source is left out, and declares columns of it"
        raise ConfigurationError("manifest", what, "Draft the manifest again.")
    if any(party.months and (len(party.months) != 2 or party.months[0] > party.months[1]) for party in manifest.parties):
        raise ConfigurationError("manifest", "a party's months are not its first and last", "Draft the manifest again.")


def is_moment(text: str) -> bool:
    """Whether a text is a time of a day that there is, as nodes' clocks write it, so that the two compare as texts do."""
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    return year > 0 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def check_definition(target: TargetSettings, where: str) -> None:
    """A definition of outcomes that can be one. where: how errors name its place. Raises ConfigurationError."""
    if target.gray_from > target.days_past_due:
        what = f"indeterminate_from = {target.gray_from} is above days_past_due = {target.days_past_due}"
        raise ConfigurationError(where, what, "Indeterminate rows lie below bad ones: lower it, or leave it out.")
    if target.standing >= target.days_past_due:
        what = f"good_standing = {target.standing} is not below days_past_due = {target.days_past_due}"
        raise ConfigurationError(where, what, "Who is bad already can become nothing else: lower it, or leave it out.")
    for key, month in (("observe_from", target.observe_from), ("observe_to", target.observe_to)):
        if month is not None and not _MONTH.fullmatch(month):
            raise ConfigurationError(f"{where} {key}", "is not a month", "Write it as 2024-01.")
    if target.observe_from is not None and target.observe_to is not None and target.observe_from > target.observe_to:
        raise ConfigurationError(f"{where} observe_to", "lies before observe_from", "Exchange them.")


def _check_target(manifest: Manifest) -> None:
    """Outcomes are made of repayments at every party that has outcomes, or at none."""
    target = manifest.sample.target
    if any(party.repayments and not party.label for party in manifest.parties):
        raise ConfigurationError("manifest", "a party has repayments and no outcomes", "Draft the manifest again.")
    for party in manifest.parties:
        if party.label and party.repayments and target is None:
            what = f"{party.name} has a repayment table, and nothing says what an outcome is"
            raise ConfigurationError("manifest", what, "Add [target] to the run file, or give the party a column `label`.")
        if party.label and target is not None and not party.repayments:
            what = f"[target] makes outcomes of repayments, and {party.name} brings a column of outcomes"
            raise ConfigurationError("manifest", what, "Give that party `repayments` in place of `label`, or leave [target] out.")
    if target is not None:
        check_definition(target, "[target]")


def _check_noise(manifest: Manifest) -> None:
    """Noise is stated whole and is asked for where it can be had: epsilon and delta over banks, label noise across parties."""
    privacy = manifest.privacy
    if (privacy.epsilon is None) != (privacy.delta is None):
        raise ConfigurationError("manifest", "it states one of epsilon and delta", "Set both in [privacy], or neither.")
    if privacy.epsilon is not None and not manifest.horizontal:
        action = "Leave epsilon and delta out: across parties the label party can ask for label_noise."
        raise ConfigurationError("manifest", "it states epsilon, and noise is added to sums over banks alone", action)
    if privacy.label_noise is not None and manifest.horizontal:
        action = "label_noise is an epsilon of a run across parties: over banks state epsilon and delta."
        raise ConfigurationError("manifest", "its label noise cannot be had", action)


def _check_agencies(manifest: Manifest) -> None:
    """An agency is one that a party goes through, and nothing else; whoever goes through one has no label; its contract is named."""
    agencies, asked = {agency.name for agency in manifest.agencies}, {party.through for party in manifest.parties} - {""}
    if any(party.role == AGENCY for party in manifest.parties):
        raise ConfigurationError("manifest", "an agency is declared as a party", "Declare it with [[agency]]: it brings no columns.")
    if asked - agencies:
        raise ConfigurationError("manifest", "a party goes through an agency that is not declared", "Add an [[agency]] of that name.")
    if agencies - asked:
        raise ConfigurationError("manifest", "an agency is declared that no party goes through", "Name it in `through`, or leave it out.")
    if any(party.through and party.label for party in manifest.parties):
        what = "a party with a label goes through an agency"
        raise ConfigurationError("manifest", what, "An agency stands before platforms: leave `through` out at the bank.")
    if any(party.consents_at_agency and not party.through for party in manifest.parties):
        what = "a party's consents are held at an agency, and it goes through none"
        raise ConfigurationError("manifest", what, "Name the agency in `through`.")
    if agencies and AGENCY not in manifest.contracts:
        raise ConfigurationError("manifest", "it has an agency and does not name the contract 'agency'", "Draft the manifest again.")


def _check_check(manifest: Manifest) -> None:
    """What a check across institutions must be besides."""
    names, check = manifest.members, manifest.check
    _check_circle(manifest)
    if check.asks not in names:
        raise ConfigurationError("manifest", "it does not name an institution of its own that asks", "Set `[check] asks`.")
    if any(party.label for party in manifest.parties) or manifest.agencies or manifest.sample.key != "firm":
        what = "a check has labels, agencies or rows by month"
        raise ConfigurationError("manifest", what, "A check has one row for each key, and no label.")
    if list(check.bands) != sorted(set(check.bands)) or (check.bands and manifest.task != "multi_lender"):
        what = "its bands are not in ascending order, or its task has none"
        raise ConfigurationError("manifest", what, "Correct `[check] bands`; multi_lender alone has bands.")
    if manifest.purpose not in ("decide", "monitor"):
        what = f"a check for the purpose {manifest.purpose!r} (rule: decide or monitor)"
        raise ConfigurationError("manifest", what, "A check serves the lending itself: correct `[run] purpose`.")
    for party in manifest.parties:
        wanted = [] if manifest.task == COMPARES or party.name == check.asks else ["numeric"]
        if [column.kind for column in party.columns] != wanted:
            what = (
                f"{party.name} brings {len(party.columns)} columns (rule: {'one number, which is counted' if wanted else 'its keys alone'})"
            )
            action = "Name that column alone in `include`." if wanted else "Set `include` to none."
            raise ConfigurationError("manifest", what, action)


def _check_circle(manifest: Manifest) -> None:
    """How many institutions a check has, and what they compare where they are two."""
    count, compares = len(manifest.members), manifest.task == COMPARES
    if not are_pairs(manifest.check.pairs, wanted=compares):
        what = "its pairs are not distinct names without '|', or its task has none"
        raise ConfigurationError("manifest", what, "Correct `[check] pairs`; common_counterparties alone has pairs, and needs them.")
    if compares and count != 2:
        raise ConfigurationError("manifest", f"it has {count} institutions, and two compare counterparties", "Name just those two.")
    if not compares and not FEWEST_IN_A_CHECK <= count <= MOST_IN_A_CHECK:
        what = f"it has {count} institutions, and a check takes {FEWEST_IN_A_CHECK} to {MOST_IN_A_CHECK}"
        raise ConfigurationError("manifest", what, "Beside the one that asks there must be three at least: of two, a count tells which.")


def are_pairs(pairs: tuple[str, ...], *, wanted: bool) -> bool:
    """Whether these can be the names of a check's pairs: distinct and plain, and some where they are wanted and none where not."""
    return bool(pairs) == wanted and len(set(pairs)) == len(pairs) and all("|" not in pair and pair == pair.strip() for pair in pairs)


def _check_partners(manifest: Manifest) -> None:
    """What a run across parties must be besides."""
    names = manifest.members
    if not 2 <= len(names) <= 8:
        raise ConfigurationError("manifest", f"it has {len(names)} parties", "A run across parties takes 2 to 8.")
    if manifest.task == "statistics":
        raise ConfigurationError("manifest", "statistics are taken over many banks", "Give every party a `label`, or choose another task.")
    if sum(party.label for party in manifest.parties) != 1:
        raise ConfigurationError("manifest", "it must have just one label party", "Give one bank a `label`.")
    if manifest.task == "train" and manifest.privacy.max_score_reveals < FEWEST_REVEALS:
        raise ConfigurationError(
            "manifest", f"max_score_reveals is below {FEWEST_REVEALS}", "A fit shows one vector of scores at least, the final scores and points."
        )  # fmt: skip
    if len(names) == 2 and not manifest.privacy.single_partner_disclosure and manifest.task == "train":
        raise ConfigurationError(
            "manifest",
            "with one feature party the label party sees that party's score of each of its own rows",
            "Add a second feature party, or accept it with `[privacy] single_partner_disclosure = true`.",
        )


def _check_banks(manifest: Manifest) -> None:
    """What a run over many banks must be besides."""
    banks, names = manifest.banks, manifest.members
    if not FEWEST_BANKS <= len(names) <= MOST_BANKS:
        action = f"A run over banks takes {FEWEST_BANKS} to {MOST_BANKS}: of two, each would learn the other's numbers."
        raise ConfigurationError("manifest", f"it has {len(names)} banks", action)
    least = max(FEWEST_BANKS, 2 * len(names) // 3 + 1)
    if banks.threshold is not None and not least <= banks.threshold <= len(names):
        what = f"a threshold of {banks.threshold} with {len(names)} banks (rule: above two thirds of them)"
        room = f"{least}" if least == len(names) else f"{least} to {len(names)}"
        raise ConfigurationError("manifest", what, f"Set [privacy] threshold to {room}, or leave it out.")
    if banks.drop_outs == "stop" and banks.threshold not in (None, len(names)):
        what = f'a threshold of {banks.threshold} of {len(names)} banks, and drop_outs = "stop", under which all must stay'
        raise ConfigurationError("manifest", what, "Leave out one of the two.")
    first = [(column.name, column.kind) for column in manifest.parties[0].columns]
    for party in manifest.parties[1:]:
        theirs = [(column.name, column.kind) for column in party.columns]
        if theirs != first:
            what = f"{party.name} does not have the same columns as {names[0]}: {_unlike(dict(first), dict(theirs))}"
            raise ConfigurationError("manifest", what, "Use include, exclude and types of [[party]] to give every bank the same columns.")
    if len(names) > MOST_WITH_LEVELS and any(kind == "categorical" for _, kind in first):
        what = f"more than {MOST_WITH_LEVELS} banks and a categorical column"
        raise ConfigurationError("manifest", what, "Leave such columns out ([[party]] exclude), or code them as numbers.")


def _unlike(first: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """What one bank's columns (kind by name) have that is not as at the first; three names of each at most."""
    found = []
    for says, names in (("it lacks", first.keys() - theirs.keys()), ("it alone has", theirs.keys() - first.keys())):
        if names:
            shown = ", ".join(map(repr, sorted(names)[:3]))
            found.append(f"{says} {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else ""))
    odd = sorted(name for name in first.keys() & theirs.keys() if first[name] != theirs[name])
    found += [f"{name!r} is {theirs[name]} and not {first[name]}" for name in odd[:1]]
    return "; ".join(found) or "their order is another"
