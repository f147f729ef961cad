"""A run has the rows that were opened for just its manifest: consents, erasures at the source and the cap are asked anew for each."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from clients.consent import audited
from federation.kernel.errors import AbortCode
from federation.kernel.manifest import PrivacySettings, SampleSettings
from privacy.store.consent_import import import_csv
from tests.house import NOW, House, refused


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


def test_another_manifest_of_the_name_does_not_get_the_rows_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    lines = ["id,purpose,levels,recipients,from,until,evidence"]
    lines += [f"firm{i},credit,3,platform;tax,2026-01-01,2026-12-31,form {i}" for i in range(40)]
    (house.root / "consents.csv").write_text("\n".join(lines))
    with closing(audited(house.node.home)) as ledger:
        import_csv(ledger, house.root / "consents.csv", NOW)
    first = house.opened()
    (house.root / "journal" / "test.opening").unlink()  # killed before it was written
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw([f"firm{i}" for i in range(12)], NOW)
    house.restart()
    rows = {}
    for made in (house.drafted(seed=8), first):
        house.vote(made.hash)
        house.proposed(made)
        rows[made.seed] = [int(entry.facts["rows"]) for entry in house.node.gate.log.entries() if entry.kind == "vault"][-1]
    assert rows == {8: 28, first.seed: 40}, "and the first goes on with those that it began with, and hears who left"


def test_who_was_erased_at_the_source_is_in_no_further_run(house: House) -> None:
    house.opened()
    source = house.root / "bank.csv"
    source.write_text("".join(source.read_text().splitlines(keepends=True)[:-12]))
    made = house.drafted(run="next")
    house.vote(made.hash)
    house.proposed(made)
    opened_for = [entry.facts for entry in house.node.gate.log.entries() if entry.kind == "vault" and "snapshot" in entry.facts]
    assert [int(facts["rows"]) for facts in opened_for] == [60, 60, 48]
    assert house.hello().envelopes, "and the run that is open has the rows that it began with"


def test_a_cap_on_rows_is_asked_of_each_run(house: House) -> None:
    for cap in (10**6, 59):
        made = house.drafted(
            run=f"cap-{cap}", sample=SampleSettings(key="firm and month", periods=("2026-01",)), privacy=PrivacySettings(max_rows=cap)
        )
        house.vote(made.hash)
        if cap == 59:
            assert refused(house, made) is AbortCode.CAP
        else:
            house.proposed(made)
