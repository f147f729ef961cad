"""The manifest: everything that a run is, in canonical bytes that every institution signs.

What is not in it is not done: the parties and their keys, the columns each contributes, the purpose, the model with all its settings, who
may learn what (by name of leakage contract), and the caps. Its hash binds every key, signature and random draw of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, PeerError
from federation.kernel.known import known
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret

AGENCY = "agency"
"""The role of an agency, and the name of its leakage contract."""
FEWEST_REVEALS = 3
FEWEST_BANKS, MOST_BANKS = 3, 2048
MOST_WITH_LEVELS = 64
"""Above so many banks columns must be numbers: banks no longer tell each other levels."""


_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PARTY = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KEY = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_STUDY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})?")


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ColumnDeclaration(_Part, frozen=True, kw_only=True):
    """A column that a party contributes. level: JR/T 0197-2020 level 1-5; classification: JR/T 0171-2020 C1-C3; unit: free text of the data
    dictionary.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    level: int = 3
    classification: Literal["C1", "C2", "C3"] = "C1"
    unit: str = ""


class PartyDeclaration(_Part, frozen=True, kw_only=True):
    """An institution. identity: its Ed25519 identity key, hexadecimal; dated: its rows carry their own as-of date; through: the agency that
    relays whatever it sends and receives, "" for none.
    """

    name: str
    role: str
    identity: str
    label: bool = False
    dated: bool = False
    columns: tuple[ColumnDeclaration, ...] = ()
    through: str = ""


class AgencyDeclaration(_Part, frozen=True, kw_only=True):
    """A licensed credit agency: it stands between parties and all others, has no columns, rows or label, and no part in any sum. identity: its
    Ed25519 identity key, hexadecimal.
    """

    name: str
    identity: str
    role: Literal["agency"] = "agency"


class SampleSettings(_Part, frozen=True, kw_only=True):
    """Which rows train. holdout: share of firms held out; key: "firm", or "firm and month" where a firm has several rows."""

    holdout: float = 0.3
    split_seed: int = 0
    as_of: bool = False
    out_of_time_from: str | None = None
    weighted: bool = False
    key: Literal["firm", "firm and month"] = "firm"
    periods: tuple[str, ...] = ()


class AlignSettings(_Part, frozen=True, kw_only=True):
    """visibility: DESIGN 5.1; kind: of the identifiers; former: the alignment taken over from a former run, hexadecimal."""

    visibility: Literal["hidden", "book", "intersection"] = "hidden"
    kind: Literal["uscc", "any"] = "any"
    former: str | None = None


class ModelSettings(_Part, frozen=True, kw_only=True):
    """C: scikit-learn's inverse ridge strength, inf for none (None here, since canonical bytes know no infinity)."""

    C: float | None = 1.0
    standardize: bool = True
    missing: Literal["mean", "zero", "indicator", "error", "bin"] = "mean"
    tolerance: float = 1e-7
    max_iterations: int = 50
    signs: Literal["free", "woe"] = "free"


class BinningSettings(_Part, frozen=True, kw_only=True):
    """How columns are cut, DESIGN 6."""

    max_bins: int = 6
    min_share: float = 0.05
    min_bads: int = 0
    monotone: Literal["none", "auto", "increasing", "decreasing"] = "none"
    special: tuple[float, ...] = ()
    woe_smoothing: float = 0.5


class ScorecardSettings(_Part, frozen=True, kw_only=True):
    """Points: base_points at base_odds (goods to one bad), pdo more points double the odds."""

    base_points: float = 600.0
    base_odds: float = 50.0
    pdo: float = 20.0


class SelectSettings(_Part, frozen=True, kw_only=True):
    """The limits of each step of selection; None: the step is not taken."""

    iv_min: float | None = None
    corr_max: float | None = None
    vif_max: float | None = None
    p_max: float | None = None


class BankSettings(_Part, frozen=True, kw_only=True):
    """Of a run over many banks. threshold: how many must stay, above two thirds of them, None for the least; drop_outs: whether the run goes
    on without a bank that is lost, or ends there; intercept: common to all, or each bank's own; personal_C: each bank's own slopes, with
    ridge 1 / (2 personal_C) around the common ones.
    """

    threshold: int | None = None
    drop_outs: Literal["continue", "stop"] = "continue"
    intercept: Literal["common", "per bank"] = "common"
    personal_C: float | None = None  # noqa: N815  # C as scikit-learn writes it


class PrivacySettings(_Part, frozen=True, kw_only=True):
    """What may be disclosed, and the caps; the defaults are the strict ones.

    partner_disclosure: what of a partner's bins a validator sees; withdrawal: whether a run goes on without a row whose consent was withdrawn
    meanwhile, or ends; epsilon, delta: the loss that the whole run may cost a bank's rows, None for a run without noise; label_noise: epsilon
    of the noise that the label party adds to each count per bin that a partner receives, None for none.
    """

    single_partner_disclosure: bool = False
    two_member_disclosure: bool = False
    label_disclosure: bool = False
    max_score_reveals: int = 40
    max_released_counts: int | None = None
    max_answers: int = 20_000
    minimum_cohort: int = 10
    max_rows: int = 20_000_000
    partner_disclosure: Literal["direction", "edges", "full"] = "direction"
    withdrawal: Literal["abort", "continue"] = "abort"
    epsilon: float | None = None
    delta: float | None = None
    label_noise: float | None = None


class Manifest(_Part, frozen=True, kw_only=True):
    """A run, whole. attempt: counts restarts that had to open a new session; coordinator: its identity key, hexadecimal; requested_by: the role
    of the person who asks for it; study: the approved study that it is part of, if any; expires: no node takes part from then on, UTC.
    """

    run: str
    task: Literal["binning", "train", "statistics"]
    model: Literal["logistic", "scorecard"]
    purpose: str
    seed: int
    coordinator: str
    parties: tuple[PartyDeclaration, ...]
    contracts: tuple[str, ...]
    sample: SampleSettings = SampleSettings()
    align: AlignSettings = AlignSettings()
    settings: ModelSettings = ModelSettings()
    binning: BinningSettings = BinningSettings()
    scorecard: ScorecardSettings = ScorecardSettings()
    privacy: PrivacySettings = PrivacySettings()
    select: SelectSettings = SelectSettings()
    banks: BankSettings = BankSettings()
    suite: str = suite.NAME
    code_version: str = ""
    attempt: int = 0
    requested_by: str = "modeller"
    study: str = ""
    expires: str = "9999-12-31T23:59:59Z"
    agencies: tuple[AgencyDeclaration, ...] = ()

    def canonical(self) -> bytes:
        """The bytes that are hashed and signed: JSON with sorted keys."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes, 32 bytes."""
        return suite.digest("manifest", self.canonical())

    @property
    def members(self) -> tuple[str, ...]:
        """The institutions' names, in order."""
        return tuple(party.name for party in self.parties)

    @property
    def signers(self) -> tuple[str, ...]:
        """All who sign the manifest: the parties and the agencies."""
        return tuple(one.name for one in self.institutions)

    @property
    def institutions(self) -> tuple[PartyDeclaration | AgencyDeclaration, ...]:
        """The parties, then the agencies."""
        found: list[PartyDeclaration | AgencyDeclaration] = [*self.parties, *self.agencies]
        return tuple(found)

    @property
    def horizontal(self) -> bool:
        """Whether the run is over many banks: every party has labels of its own firms."""
        return len(self.parties) > 1 and all(party.label for party in self.parties)

    @property
    def label_party(self) -> str:
        """The one party that has the label, of a run across parties."""
        return next(party.name for party in self.parties if party.label)

    @property
    def feature_parties(self) -> tuple[str, ...]:
        """The parties without a label, in order."""
        return tuple(party.name for party in self.parties if not party.label)

    def party(self, name: str) -> PartyDeclaration:
        """One party's declaration."""
        return next(party for party in self.parties if party.name == name)

    def declared(self, name: str) -> PartyDeclaration | AgencyDeclaration:
        """A party's declaration, or an agency's."""
        return next(one for one in self.institutions if one.name == name)

    def columns_of(self, name: str) -> tuple[ColumnDeclaration, ...]:
        """The columns that an institution brings; an agency brings none."""
        return self.party(name).columns if name in self.members else ()

    def through(self, name: str) -> str:
        """The agency that stands between one party and the others; "" where none does."""
        return next((party.through for party in self.parties if party.name == name), "")

    def identities(self) -> dict[str, bytes]:
        """Identity keys of all parties, agencies and the coordinator."""
        return {COORDINATOR: bytes.fromhex(self.coordinator)} | {one.name: bytes.fromhex(one.identity) for one in self.institutions}


@lru_cache(maxsize=4)
def read_manifest(raw: bytes, limit: int = 1 << 24) -> Manifest:
    """A manifest from its canonical bytes; anything else than canonical bytes is refused, so that a hash has one preimage."""
    if len(raw) > limit:
        raise PeerError(COORDINATOR, f"a manifest of {len(raw)} bytes", f"at most {limit}")
    try:
        manifest = msgspec.json.decode(raw, type=known(Manifest), strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PeerError(COORDINATOR, "malformed bytes", "a manifest") from None
    if manifest.canonical() != raw:
        raise PeerError(COORDINATOR, "a manifest that is not in canonical form", "canonical bytes")
    check_manifest(manifest)
    return manifest


def require_run_name(name: str) -> None:
    """A run's name is also a file's name at every node, so it can name nothing outside a folder. Raises ConfigurationError."""
    if not _RUN.fullmatch(name):
        raise ConfigurationError("manifest", "the run's name is not made of letters, digits, '.', '_' and '-'", "Name the run otherwise.")


def check_manifest(manifest: Manifest) -> None:
    """What every node requires of any manifest, whoever wrote it. Raises ConfigurationError."""
    require_run_name(manifest.run)
    names = manifest.signers
    if not all(_PARTY.fullmatch(name) for name in names):
        raise ConfigurationError("manifest", "a party's name is not made of a-z, 0-9 and -, up to 32 characters", "Rename the party.")
    if len(set(names)) != len(names) or COORDINATOR in names:
        raise ConfigurationError("manifest", "two parties have one name", "Give every [[party]] its own name.")
    keys = [manifest.coordinator, *(one.identity for one in manifest.institutions)]
    if not all(_KEY.fullmatch(key) and suite.is_signing_public(bytes.fromhex(key)) for key in keys) or len(set(keys)) != len(keys):
        raise ConfigurationError(
            "manifest", "two parties have one identity key, or a key is malformed", "Every party and the coordinator needs a key of its own."
        )  # fmt: skip
    if manifest.suite != suite.NAME:
        raise ConfigurationError("manifest", "it names another cipher suite", f"This version speaks {suite.NAME}.")
    if not _TIME.fullmatch(manifest.expires) or not _STUDY.fullmatch(manifest.study):
        what = "its expiry is not a time such as 2027-01-31T00:00:00Z, or its study's name is not made of letters, digits, '.', '_' and '-'"
        raise ConfigurationError("manifest", what, "Correct [run] study, or draft the manifest again.")
    _check_noise(manifest)
    _check_agencies(manifest)
    (_check_banks if manifest.horizontal else _check_partners)(manifest)


def _check_noise(manifest: Manifest) -> None:
    """Noise is stated whole and is asked for where it can be had: epsilon and delta over banks, label noise across parties."""
    privacy = manifest.privacy
    if (privacy.epsilon is None) != (privacy.delta is None):
        raise ConfigurationError("manifest", "it states one of epsilon and delta", "Set both in [privacy], or neither.")
    if privacy.epsilon is not None and not (0 < privacy.epsilon <= 100 and 0 < (privacy.delta or 0) < 0.01):
        raise ConfigurationError(
            "manifest", "its epsilon or delta is out of range", "epsilon: above 0, to 100; delta: above 0, below 0.01."
        )
    if privacy.epsilon is not None and not manifest.horizontal:
        action = "Leave epsilon and delta out: across parties the label party can ask for label_noise."
        raise ConfigurationError("manifest", "it states epsilon, and noise is added to sums over banks alone", action)
    if privacy.label_noise is not None and not (0 < privacy.label_noise <= 100 and not manifest.horizontal):
        action = "label_noise is an epsilon above 0, to 100, of a run across parties."
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
    if agencies and AGENCY not in manifest.contracts:
        raise ConfigurationError("manifest", "it has an agency and does not name the contract 'agency'", "Draft the manifest again.")


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


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One institution's signature of a manifest and of the snapshot of its data that it approves it for, with its identity key.

    snapshot: the commitment to the rows that may be used, 32 bytes (zeros of an agency, which has none), which the party's hello must repeat.
    """

    party: str
    snapshot: bytes
    signature: bytes


def _approval(manifest_hash: bytes, party: str, snapshot: bytes) -> bytes:
    return suite.frame("approve", manifest_hash, party, snapshot)


def sign_manifest(manifest: Manifest, party: str, snapshot: bytes, identity: Secret) -> Signature:
    """This party's approval of a manifest, for the data that the snapshot commits to."""
    return Signature(party, snapshot, suite.sign(identity, _approval(manifest.hash, party, snapshot)))


def check_signatures(manifest: Manifest, signatures: tuple[Signature, ...]) -> dict[str, bytes]:
    """Every party and agency signed just this manifest, once; returns the snapshots that they signed. Raises PeerError."""
    identities = manifest.identities()
    if sorted(s.party for s in signatures) != sorted(manifest.signers):
        raise PeerError(COORDINATOR, "signatures of other parties", "one signature of each party of the manifest")
    approved = manifest.hash  # once: among many banks the hash is the larger work
    for signature in signatures:
        party = signature.party
        if len(signature.snapshot) != suite.KEY_BYTES:
            raise PeerError(COORDINATOR, f"a signature of {party} with a snapshot of the wrong size", "32 bytes")
        if not suite.verifies(identities[party], _approval(approved, party, signature.snapshot), signature.signature):
            raise PeerError(COORDINATOR, f"a signature of {party} that does not hold", "its signature of this manifest")
    return {signature.party: signature.snapshot for signature in signatures}


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node says about itself before a run: its declaration, the kind of its ids, and (label party) the months of its rows."""

    party: PartyDeclaration
    id_kind: Literal["uscc", "any"]
    rows_per_firm: bool = False
    periods: tuple[str, ...] = ()


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest's canonical bytes and every institution's signature."""

    manifest: bytes
    signatures: tuple[Signature, ...]
