"""What would keep a node from working, one check each: what was found, and what to do. No check changes anything, and none says a value."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

from clients.budget_commands import ledger_path
from clients.consortium import FILE, read_file
from clients.founding import KEYS
from clients.home import Home
from clients.joined import link, node_key, require_ours
from clients.party_config import PartyConfig
from clients.resident_node import resident_now
from clients.vault import describe_table
from federation.carriage.dealings import NotFlowers
from federation.carriage.fleet import Fleet
from federation.kernel.errors import CreditfedError
from federation.kernel.invitation import Invitation
from federation.kernel.manifest import AGENCY
from privacy.store.budget_file import BudgetFile
from privacy.store.policy_folder import load_policies

LEAST_FREE = 2 << 30
"""Bytes: a run of a million rows keeps some hundred MB of journal."""
CLOCK_OFF, CLOCK_WRONG = 30.0, 240.0
"""Seconds that this clock may differ from the server's: Flower takes no request whose time is off by five minutes."""
_CLOSE = 3.0
"""Seconds: the server's `Date` has whole ones, and is set about once in one."""
_SHORT = 5.0
_SEE = "See the check of the certificate."


@dataclass(frozen=True)
class Finding:
    """One check."""

    name: str
    verdict: Literal["ok", "look", "wrong"]
    found: str
    action: str = ""


def examine(home: Home) -> tuple[Finding, ...]:
    """Every check, in the order in which a node needs what they look at. What an earlier one has said already is not said again."""
    checks: tuple[tuple[str, Callable[[Home], Finding]], ...] = (
        ("keys", _keys), ("disk", _disk), ("policy", _policy), ("members", _members), ("source", _source), ("rows", _legal_basis),
        ("budget", _budget), ("certificate", _certificate), ("clock", _clock), ("enrolment", _enrolment),
    )  # fmt: skip
    found: list[Finding] = []
    for name, check in checks:
        one = _carefully(name, check, home)
        said = next(
            (other.name for other in found if one.verdict == "wrong" and (other.found, other.action) == (one.found, one.action)), None
        )
        found.append(one if said is None else Finding(name, "wrong", "cannot be looked at", f"See the check of the {said}."))
    return tuple(found)


def _carefully(name: str, check: Callable[[Home], Finding], home: Home) -> Finding:
    try:
        return check(home)
    except CreditfedError as error:
        return Finding(name, "wrong", f"{error.where}: {error.what}", error.action)
    except OSError as error:
        return Finding(name, "wrong", error.strerror or type(error).__name__, "Check the path and its permissions.")


def _keys(home: Home) -> Finding:
    paths = [*(home.root / "keys" / f"{name}.key" for name in KEYS), home.root / "keys" / "node.pem"]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        return Finding(
            "keys", "wrong", f"not there: {', '.join(missing)}", "Restore keys/ from your backup; new keys are another institution."
        )
    node_key(home)
    loose = [path.name for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if loose:
        return Finding("keys", "wrong", f"others may read {', '.join(loose)}", f"chmod 600 {home.root / 'keys'}/*")
    return Finding("keys", "ok", f"{len(paths)} keys, readable by their owner alone")


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.root).free
    if not os.access(home.root, os.W_OK):
        return Finding("disk", "wrong", "the node's folder cannot be written", "Give it to the user that runs the node.")
    what = f"{free / 1e9:.1f} GB free"
    return Finding("disk", "ok", what) if free >= LEAST_FREE else Finding("disk", "look", what, "Make room: a run may need 2 GB.")


def _policy(home: Home) -> Finding:
    rules = load_policies(home.root / "policy")
    return Finding("policy", "ok", f"{len(rules.rules)} rules; the node decides by them")


def _members(home: Home) -> Finding:
    if not (home.root / FILE).exists():
        return Finding(
            "members",
            "wrong",
            "none are pinned, so no run is answered",
            f"creditfed node approve consortium.toml --home {home.root}: the file is the coordinator's.",
        )
    pinned = read_file(home.root / FILE)
    require_ours(home, pinned)
    gone = sum(member.revoked for member in pinned.members)
    some = f", {gone} of them revoked" if gone else ""
    return Finding("members", "ok", f"{len(pinned.members)} members{some} and the coordinator, pinned by key")


def _source(home: Home) -> Finding:
    config = PartyConfig.from_dict(home.config(), home.root)
    if config.role == AGENCY:
        return Finding("source", "ok", "an agency has none")
    facts = describe_table(config)
    notes = f"; {len(facts.notes)} notes" if facts.notes else ""
    return Finding("source", "ok", f"{facts.rows:,} rows, {len(facts.columns)} columns, ids of kind {facts.id_kind}{notes}")


def _legal_basis(home: Home) -> Finding:
    basis = PartyConfig.from_dict(home.config(), home.root).legal_basis
    action = "Import consents (creditfed node consent import), or state another legal_basis in node.toml." if basis == "consent" else ""
    return Finding("rows", "look" if action else "ok", f"used by {basis}", action)


def _budget(home: Home) -> Finding:
    if PartyConfig.from_dict(home.config(), home.root).role == AGENCY:
        return Finding("budget", "ok", "an agency releases nothing")
    path = ledger_path(home.root)
    if not path.exists():
        return _no_budget(home)
    ledger = BudgetFile(path)
    try:
        limits = ledger.current().limits
    finally:
        ledger.close()
    if not limits:
        return _no_budget(home)
    return Finding("budget", "ok", f"limits for {', '.join(sorted(f'{data} ({purpose})' for data, purpose in limits))}")


def _no_budget(home: Home) -> Finding:
    dataset = home.config().get("dataset", "DATASET")
    action = f"creditfed node budget set {dataset} any --by NAME --releases 200 --home {home.root}"
    return Finding("budget", "wrong", "none is set, so nothing leaves", action)


def _host(invited: Invitation) -> tuple[str, int]:
    host, _, port = invited.address.rpartition(":")
    return host.strip("[]"), int(port)


def _certificate(home: Home) -> Finding:
    invited = link(home)
    host, port = _host(invited)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=invited.authority)
    try:
        with socket.create_connection((host, port), _SHORT) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
            until = dict(tls.getpeercert() or {}).get("notAfter", "")
        day = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), dt.UTC).date().isoformat()
    except ssl.SSLCertVerificationError:
        what = "the invitation's authority has not signed the server's certificate for that name"
        return Finding("certificate", "wrong", what, "Do not go on. Ask the coordinator by telephone.")
    except OSError as error:
        action = f"Ask whether the coordinator's server runs; let this machine reach {invited.address} (TCP, outgoing)."
        return Finding("certificate", "wrong", f"{invited.address} cannot be reached ({error.strerror or type(error).__name__})", action)
    return Finding("certificate", "ok", f"{invited.address} answers, signed by the invitation's authority until {day}")


def _clock(home: Home) -> Finding:
    invited = link(home)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=invited.authority)
    try:
        with httpx.stream("GET", f"https://{invited.address}/", verify=context, timeout=_SHORT, trust_env=False) as answer:
            said = answer.headers.get("date", "")  # and nothing of what a server may send after it, without end
        off = (parsedate_to_datetime(said) - dt.datetime.now(dt.UTC)).total_seconds()
    except (httpx.HTTPError, ValueError, TypeError):
        return Finding("clock", "look", "the server's time is not known", _SEE)
    what = f"{abs(off):.0f} s {'behind' if off > 0 else 'ahead of'} the server's" if abs(off) > _CLOSE else "agrees with the server's"
    if abs(off) >= CLOCK_WRONG:
        return Finding("clock", "wrong", what, "Set this machine's clock by NTP: the server takes nothing that is five minutes off.")
    return Finding(
        "clock", "look" if abs(off) >= CLOCK_OFF else "ok", what, "Set this machine's clock by NTP." if abs(off) >= CLOCK_OFF else ""
    )


def _enrolment(home: Home) -> Finding:
    says = resident_now(home.root)
    if says:
        if says["state"] == "connected":
            return Finding("enrolment", "ok", "the resident node is connected")
        file = f"{home.config()['name']}.join.toml"
        action = f"Give {file} to the coordinator, and compare fingerprints by telephone." if says["state"] == "refused" else _SEE
        return Finding("enrolment", "wrong", f"the resident node is {says['state']}: {says.get('text', '')}", action)
    invited = link(home)
    fleet = Fleet(invited.address, invited.authority.encode(), node_key(home))
    try:
        fleet.activate()
        fleet.deactivate()
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.PRECONDITION_FAILED:
            what = "the server knows this node, and counts a process of it as online"
            return Finding("enrolment", "look", what, "Where none runs, it is forgotten within a minute.")
        file = f"{home.config()['name']}.join.toml"
        what = f"the server does not know this node's key (status {error.response.status_code})"
        return Finding("enrolment", "wrong", what, f"Give {file} to the coordinator, and compare fingerprints by telephone.")
    except (httpx.HTTPError, NotFlowers):
        return Finding("enrolment", "look", "the server does not answer", _SEE)
    finally:
        fleet.close()
    return Finding("enrolment", "ok", "the server knows this node; it does not run: creditfed node start")
