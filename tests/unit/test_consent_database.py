"""The ledger's database: no change that the log does not have, and another schema, key, file or URL is told plainly."""

from __future__ import annotations

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.secret import Secret
from privacy.consent.decide import Ask
from privacy.store.consent_ledger import ConsentLedger
from tests.consent_scene import (
    KEY,
    UNTIL,
    WITHIN,
    everything,
    give,
)


def test_no_change_that_the_log_does_not_have(url):
    def refuse(kind, /, **facts):
        raise OSError

    silent = ConsentLedger(url, KEY)
    give(silent)
    deaf = ConsentLedger(url, KEY, refuse)
    before = everything(url)
    for change in (
        lambda: give(deaf, name="bob"), lambda: deaf.withdraw(["ann"], WITHIN), lambda: deaf.request_erasure("ann", WITHIN),
        lambda: deaf.record_use("run", ["ann"], Ask("decide", (), ()), UNTIL, WITHIN), lambda: deaf.record_model("run", "ab", WITHIN),
    ):  # fmt: skip
        with pytest.raises(OSError):
            change()
        assert everything(url) == before
    silent.close()
    deaf.close()


def test_changes_at_the_same_time_have_revisions_of_their_own(url):
    ledgers = [ConsentLedger(url, KEY) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: ledgers[i % 4].withdraw([f"n{i}"], WITHIN), range(12)))
    assert ledgers[0].revision() == 12
    assert len({row[-1] for row in everything(url)["consent_withdrawals"]}) == 12
    for ledger in ledgers:
        ledger.close()


# -- the database ------------------------------------------------------------------------------------------------------------------------------


def test_another_schema_is_refused_and_not_touched(url):
    ConsentLedger(url, KEY).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE consent_facts SET value = :new WHERE name = 'schema'"), {"new": b"2"})
    engine.dispose()
    before = everything(url)
    with pytest.raises(ConfigurationError, match="schema 2, and this version of creditfed knows 1"):
        ConsentLedger(url, KEY)
    assert everything(url) == before


def test_another_key_is_refused(url):
    ConsentLedger(url, KEY).close()
    with pytest.raises(ConfigurationError, match="another key"):
        ConsentLedger(url, Secret(bytes(32)))


def test_the_file_is_its_owners_alone(tmp_path):
    ConsentLedger(f"sqlite:///{tmp_path / 'home' / 'consent' / 'ledger.db'}", KEY).close()
    assert stat.S_IMODE((tmp_path / "home" / "consent" / "ledger.db").stat().st_mode) == 0o600


def test_without_its_driver_the_url_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for scheme in ("postgresql", "postgresql+psycopg"):
        with pytest.raises(ConfigurationError, match=r"pip install creditfed\[postgresql\]"):
            ConsentLedger(f"{scheme}://user@127.0.0.1:1/ledger", KEY)


@pytest.mark.parametrize("bad", ["", "ledger.db", "sqlite://", "nonesuch://host/x", "sqlite:///", "postgresql://user@host:port/x"])
def test_a_url_that_is_none_is_refused(bad):
    with pytest.raises(ConfigurationError):
        ConsentLedger(bad, KEY)


def test_a_damaged_file_is_told_plainly(tmp_path: Path):
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough to look like something" * 20)
    with pytest.raises(DataError, match="cannot be used"):
        ConsentLedger(f"sqlite:///{tmp_path / 'ledger.db'}", KEY)
