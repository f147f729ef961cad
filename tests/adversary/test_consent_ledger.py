"""Whoever takes the ledger's database, its errors and its logs has no identifier, no name, and no way to test a guess.

Planted: identifiers in several spellings, and names in references to evidence. Looked for in every byte of the database's files (SQLite's, and
the whole data folder of PostgreSQL, write-ahead log and server log included), in the texts of errors, and in everything logged at DEBUG: as text in two encodings,
in hexadecimal and base64, and by a dictionary of hashes without a key.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import logging
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from federation.align import uscc
from federation.kernel.errors import CreditfedError
from federation.kernel.secret import Secret
from privacy.consent.decide import Ask
from privacy.consent.subject import Pseudonyms
from privacy.store.consent_import import import_csv, import_sql
from privacy.store.consent_ledger import ConsentLedger
from tests.consent_scene import KEY, KINDS, new_database, postgres, terms

NOW = "2026-03-15T04:00:00Z"
IDS = ["Canary Trading 7741 Ltd", "91350100M000100Y43", "corbeau-5512"]
REFERENCES = ["scans/Zhang San 8813.pdf", "contract Li-Si-2207", "form Wang Wu 6604"]


def needles(texts) -> dict[str, bytes]:
    found = {}
    for text in texts:
        for form in {text, *uscc.in_any_kind([text]), text.lower(), text.upper()}:
            for encoding in ("utf-8", "utf-16-le"):
                found[f"{form} in {encoding}"] = form.encode(encoding)
            raw = form.encode()
            found[f"{form} in hexadecimal"] = raw.hex().encode()
            for shift in range(3):
                found[f"{form} in base64, {shift}"] = base64.b64encode(b"\0" * shift + raw)[4:-4]
            for hashing in (hashlib.sha256, hashlib.sha1, hashlib.md5):
                found[f"{form} by {hashing().name}"] = hashing(raw).digest()[:16]
                found[f"{form} by {hashing().name}, in hexadecimal"] = hashing(raw).hexdigest()[:32].encode()
    return found


def leaked(data: bytes, texts=(*IDS, *REFERENCES)) -> list[str]:
    return sorted(name for name, needle in needles(texts).items() if needle in data)


def fill(ledger: ConsentLedger) -> None:
    for name, reference in zip(IDS, REFERENCES, strict=True):
        ledger.grant(name, terms(), dt.date(2026, 1, 1), dt.date(2026, 12, 31), reference, NOW)
    ask = Ask("decide", (("turnover", 3),), ("bank", "tax"))
    assert ledger.permitted(IDS, ask.purpose, ask.columns, ask.recipients, NOW).all()
    ledger.record_use("run 1", IDS, ask, dt.date(2026, 6, 1), NOW)
    mark = ledger.mark(NOW)
    ledger.withdraw(IDS[:1], NOW)
    ledger.withdraw_evidence(REFERENCES[1:2], NOW)
    assert ledger.gone(IDS, ask, mark, NOW).mask.tolist() == [True, True, False]
    ledger.request_erasure(IDS[2], NOW)
    assert ledger.explain(IDS[0]).evidence == (REFERENCES[0],)


def bytes_of(kind: str, url: str) -> bytes:
    if kind == "sqlite":
        folder = sa.make_url(url).database.rpartition("/")[0]
    else:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CHECKPOINT"))
        engine.dispose()
        folder = str(postgres()[1])
    return _read(folder)


def _read(folder: str) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_the_database_holds_no_identifier_and_no_name(kind, tmp_path):
    url = new_database(kind, tmp_path)
    ledger = ConsentLedger(url, KEY)
    fill(ledger)
    ledger.close()
    data = bytes_of(kind, url)
    assert Pseudonyms(KEY).of(IDS[:1])[0] in data  # it is what was written
    assert leaked(data) == []
    print(f"0 of {len(needles((*IDS, *REFERENCES))):,} needles in {len(data):,} bytes")


class StoresPlain(Pseudonyms):
    def of(self, ids, kind="firm"):
        return [name.encode() for name in uscc.in_any_kind(ids)]


class HashesWithoutKey(Pseudonyms):
    def of(self, ids, kind="firm"):
        return [hashlib.sha256(name.encode()).digest()[:16] for name in uscc.in_any_kind(ids)]


class LeavesEvidenceOpen(Pseudonyms):
    def seal(self, subject, evidence):
        return evidence.encode()

    def unseal(self, subject, sealed):
        return sealed.decode()


WEAKER = [(kind, weaker) for kind in KINDS for weaker in (StoresPlain, HashesWithoutKey, LeavesEvidenceOpen)]


@pytest.mark.parametrize(("kind", "weaker"), WEAKER[:4])
def test_control_a_weaker_ledger_is_caught(kind, weaker, tmp_path, monkeypatch):
    monkeypatch.setattr("privacy.store.consent_ledger.Pseudonyms", weaker)
    url = new_database(kind, tmp_path)
    ledger = ConsentLedger(url, KEY)
    try:
        fill(ledger)
        planted = REFERENCES if weaker is LeavesEvidenceOpen else IDS
        found = leaked(bytes_of(kind, url), planted)
        assert all(
            any(name.startswith(form) for name in found)
            for text in planted
            for form in [text if text in REFERENCES else uscc.in_any_kind([text])[0]]
        )
    finally:
        ledger.close()
        if kind == "postgresql":  # the same server serves the other test: leave nothing in its files
            _scrub(url)


def _scrub(url: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    schema = url.rpartition("%3D")[2]
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        connection.execute(sa.text("SELECT pg_switch_wal()"))
        connection.execute(sa.text("CHECKPOINT"))
    engine.dispose()


def refusals(url: str, tmp_path):
    """Everything that may go wrong with canaries in hand, as calls."""
    ledger = ConsentLedger(url, KEY)
    day = dt.date(2026, 1, 1)
    header = "id,purpose,columns,recipients,from,until,evidence"
    rows = [
        f"{IDS[0]},decide,a,bank,2026-01-01,2025-01-01,{REFERENCES[0]}",
        f"{IDS[1]},{IDS[1]},a,bank,2026-01-01,2026-02-01,{REFERENCES[1]}",
    ]
    (tmp_path / "bad.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "header.csv").write_text(",".join(IDS))
    crm = tmp_path / "crm.db"
    with closing(sqlite3.connect(crm)) as connection:  # not by SQLAlchemy, which would log it
        connection.execute("CREATE TABLE firms (id TEXT, form TEXT)")
        connection.executemany("INSERT INTO firms VALUES (?, ?)", list(zip(IDS, REFERENCES, strict=True)))
        connection.commit()
    query = "SELECT id, 'decide' AS purpose, 'a' AS columns, 'bank' AS recipients, '2026-01-01' AS \"from\", {} AS until, form AS evidence FROM firms"
    yield lambda: import_csv(ledger, tmp_path / "bad.csv", NOW)
    yield lambda: import_csv(ledger, tmp_path / "header.csv", NOW)
    yield lambda: import_sql(ledger, f"sqlite:///{crm}", query.format("'never'"), NOW)
    yield lambda: import_sql(ledger, f"sqlite:///{crm}", query.format("'2026-05-01'") + f" WHERE id = '{IDS[0]}' AND nonesuch", NOW)
    yield lambda: ledger.grant(IDS[0], terms(), dt.date(2026, 2, 1), day, REFERENCES[0], NOW)
    yield lambda: ledger.withdraw([*IDS, ""], NOW)
    yield lambda: ledger.withdraw([*IDS], f"{IDS[0]} o'clock")
    yield lambda: ledger.permitted(IDS, IDS[0], [], [], NOW)
    yield lambda: ConsentLedger(url, Secret(bytes(32)))
    yield lambda: import_sql(ledger, f"nonesuch://{IDS[2]}", "SELECT 1", NOW)
    yield lambda: ConsentLedger(f"postgresql://{IDS[2]}:{IDS[2]}@127.0.0.1:1/x", KEY)
    yield lambda: import_sql(ledger, f"sqlite:///{tmp_path / IDS[2]}", "SELECT 1", NOW)
    engine = sa.create_engine(url)
    with engine.begin() as connection:  # a ledger that breaks under the writer
        connection.execute(sa.text("DROP TABLE consent_withdrawals"))
    engine.dispose()
    yield lambda: ledger.withdraw(IDS, NOW)
    yield lambda: ledger.permitted(IDS, "decide", [], ["bank"], NOW)
    yield lambda: ledger.explain(IDS[0])
    yield ledger.close


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_and_no_log_tells_one(kind, tmp_path, caplog):
    texts, count = [], 0
    with caplog.at_level(logging.DEBUG):
        for name in ("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.engine.Engine", "psycopg", "psycopg.pool"):
            caplog.set_level(logging.DEBUG, logger=name)
        fresh = ConsentLedger(new_database(kind, tmp_path / "other"), KEY)
        fill(fresh)
        fresh.close()
        for call in refusals(new_database(kind, tmp_path), tmp_path):
            try:
                call()
            except CreditfedError as error:
                count += 1
                texts += [repr(error), "".join(traceback.format_exception(error))]
    said = "\n".join([*texts, caplog.text, *(str(vars(record)) for record in caplog.records)])
    source = "\n".join(line for line in said.splitlines() if "IDS" not in line)
    assert count == 15
    assert leaked(source.encode()) == []
    print(f"0 of {len(needles((*IDS, *REFERENCES))):,} needles in {count} errors and {len(caplog.records):,} log records")


def test_control_an_engine_of_another_name_logs_rows(tmp_path, caplog):
    """Without the quiet logger the rows of an import would be in the log at DEBUG."""
    caplog.set_level(logging.DEBUG, logger="sqlalchemy.engine")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'crm.db'}")
    with engine.connect() as connection:
        connection.execute(sa.text(f"SELECT '{IDS[2]}' AS id")).all()
    engine.dispose()
    assert leaked(caplog.text.encode())


def test_another_institution_knows_the_same_subject_by_another_hash():
    one, other = Pseudonyms(KEY), Pseudonyms(Secret(bytes(32)))
    assert not set(one.of(IDS)) & set(other.of(IDS)) and len(set(one.of(IDS))) == 3
    assert one.mark(REFERENCES[0]) != other.mark(REFERENCES[0])


def test_evidence_of_one_subject_cannot_be_put_to_another():
    names = Pseudonyms(KEY)
    one, other = names.of(IDS[:2])
    sealed = names.seal(one, REFERENCES[0])
    assert names.unseal(one, sealed) == REFERENCES[0]
    for subject, altered in ((other, sealed), (one, sealed[:-1] + bytes([sealed[-1] ^ 1])), (one, b"")):
        with pytest.raises(CreditfedError):
            names.unseal(subject, altered)
