"""Leakage contracts: for each protocol, who learns what, under which collusion, with which caps.

One TOML file per protocol lies beside this module; the manifest, the approval screen, the report and `docs/protocols/` all come from it,
and every attack it names is a test. A contract that lacks a field, or has one that nobody reads, is refused when loaded: half a contract is
none.

    protocol = "masked_sum"          # the file's own name
    title = "..."                    # a line for a human
    purpose = "..."                  # what it computes
    source = "..."                   # papers, one string or a list
    assumptions = ["...", ...]
    [[learns]]   who, what, when, limit
    [[message]]  kind, from, to, content
    [[attack]]   name, module, test, control
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec

from federation.kernel.errors import ConfigurationError


class Learns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """who: the party or coalition; what it learns; when: the step or condition; limit: the cap or bound."""

    who: str
    what: str
    when: str
    limit: str


class MessageKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from", "recipient": "to"}):
    """A message kind by its tag, who sends it to whom, and what it contains."""

    kind: str
    sender: str
    recipient: str
    content: str


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attack and its positive control.

    module: the attack's code, as a path or as imported; test: the test (its name or pytest id) in which it must fail; control: the one in
    which it must succeed, or the weakened copy in words when `test` holds both.
    """

    name: str
    module: str
    test: str
    control: str


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"messages": "message", "attacks": "attack"}):
    """One protocol's leakage contract."""

    protocol: str
    title: str
    purpose: str
    source: str | tuple[str, ...]
    assumptions: tuple[str, ...]
    learns: tuple[Learns, ...]
    messages: tuple[MessageKind, ...] = ()
    attacks: tuple[Attack, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources, always as a tuple."""
        return (self.source,) if isinstance(self.source, str) else self.source


def parse(name: str, text: str) -> Contract:
    """The contract in a TOML text. ConfigurationError where a field is missing, unknown or empty, or names another protocol."""
    where, action = f"privacy/contracts/{name}.toml", "Compare with the schema in privacy/contracts/__init__.py."
    try:
        contract = msgspec.toml.decode(text, type=Contract)
    except msgspec.ValidationError as error:
        raise ConfigurationError(where, str(error), action) from None
    except msgspec.DecodeError:
        raise ConfigurationError(where, "is not TOML", action) from None
    if contract.protocol != name:
        raise ConfigurationError(where, "names another protocol than its file", action)
    if not contract.learns:
        raise ConfigurationError(where, "says nothing about who learns what", action)
    parts = [contract, *contract.learns, *contract.messages, *contract.attacks]
    empty = {
        field for part in parts for field, value in msgspec.structs.asdict(part).items() if isinstance(value, str) and not value.strip()
    }
    if empty:
        raise ConfigurationError(where, f"leaves {', '.join(sorted(empty))} empty", action)
    return contract


@cache
def names() -> tuple[str, ...]:
    """Every protocol that has a contract, in alphabetical order."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


@cache
def load(name: str) -> Contract:
    """One protocol's contract. ConfigurationError where there is none or it is incomplete."""
    if name not in names():
        raise ConfigurationError(f"contract {name!r}", "does not exist", f"There are: {', '.join(names())}.")
    return parse(name, resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8"))


def load_all() -> tuple[Contract, ...]:
    """Every contract, in alphabetical order."""
    return tuple(load(name) for name in names())
