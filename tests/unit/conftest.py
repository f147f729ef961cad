"""Consent ledgers on SQLite and on PostgreSQL, for every test that takes one."""

from __future__ import annotations

import pytest

from privacy.store.consent_ledger import ConsentLedger
from tests.consent_scene import KEY, KINDS, new_database


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    return request.param


@pytest.fixture
def url(kind, tmp_path):
    return new_database(kind, tmp_path)


@pytest.fixture
def ledger(url):
    ledger = ConsentLedger(url, KEY)
    yield ledger
    ledger.close()
