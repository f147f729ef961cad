"""The releases that a node remembers on disk: once, whole or not at all, and never under another key."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat

import numpy as np
import pytest

from federation.kernel.errors import ConfigurationError, DataError, LocalError, PolicyRefusal
from federation.kernel.secret import Secret
from privacy.disclosure.release import Release, Study
from privacy.store.releases import ReleaseFile

KEY = Secret(bytes(range(32)))
IDS = [f"9133{i:014d}" for i in range(400)]


def release(file, ids, **more):
    return Release(file.hashes(ids), **({"columns": ("turnover",), "kind": "train", "purpose": "decide"} | more))


def test_what_was_released_is_compared_with_after_a_restart(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    file.check("march", release(file, IDS), 10)
    assert file.history() == (), "a check records nothing"
    file.record("march", release(file, IDS), 10)
    again = ReleaseFile(tmp_path, KEY)
    with pytest.raises(PolicyRefusal, match="'march'"):
        again.check("april", release(again, IDS[1:]), 10)
    with pytest.raises(PolicyRefusal, match="'march'"):
        again.record("april", release(again, IDS[1:]), 10)
    again.record("may", release(again, IDS[50:], kind="binning", study=Study("s", 3)), 10)
    assert [(entry.run, entry.kind, entry.study) for entry in again.history()] == [("march", "train", None), ("may", "binning", "s")]
    assert stat.S_IMODE((tmp_path / "releases.sqlite").stat().st_mode) == 0o600


def test_a_run_that_goes_on_is_recorded_once_and_a_name_serves_one_release(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    for _ in range(3):
        file.record("march", release(file, IDS), 10)
        file.check("march", release(file, IDS[::-1]), 10)
    assert len(file.history()) == 1
    for other in (release(file, IDS[100:]), release(file, IDS, columns=("stock",)), release(file, IDS, purpose="research")):
        with pytest.raises(LocalError, match="another release"):
            file.record("march", other, 10)


def test_a_replay_inside_a_study_that_is_used_up_is_still_the_same_run(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    only = release(file, IDS, study=Study("s", 1))
    file.record("march", only, 10)
    file.record("march", only, 10)
    with pytest.raises(PolicyRefusal, match="study"):
        file.record("april", only, 10)


def test_two_runs_that_were_both_approved_do_not_both_release(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    first, second = release(file, IDS), release(file, IDS[1:])
    file.check("first", first, 10)
    file.check("second", second, 10)
    file.record("first", first, 10)
    with pytest.raises(PolicyRefusal):
        file.record("second", second, 10)


def test_rows_and_firms_come_back_as_they_were(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    keys = [f"{firm}|{month}" for firm in IDS[:30] for month in range(12)]
    firms = [key.split("|")[0] for key in keys]
    file.record("march", release(file, keys, firms=file.hashes(firms)), 10)
    fewer = [key for key in keys if not key.startswith(IDS[0])]
    with pytest.raises(PolicyRefusal, match="'march'"):
        file.check("april", release(file, fewer, firms=file.hashes(key.split("|")[0] for key in fewer)), 10)


def test_forgetting_drops_rows_keeps_the_name_and_is_done_once(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    file.record("march", release(file, IDS[:200], study=Study("s", 1)), 10)
    file.record("april", release(file, IDS[100:]), 10)
    assert file.forget("march") and not file.forget("march") and not file.forget("never")
    held = (tmp_path / "releases.sqlite").read_bytes()
    assert not any(int(h).to_bytes(8, "little") in held for h in file.hashes(IDS[:100])), "of 100 hashes none is left on disk"
    assert all(int(h).to_bytes(8, "little") in held for h in file.hashes(IDS[100:])), "control: those of the other run are there"
    with pytest.raises(LocalError):
        file.record("march", release(file, IDS[:200]), 10)
    with pytest.raises(PolicyRefusal, match="'april'"):
        file.check("may", release(file, IDS[101:]), 10)
    with pytest.raises(PolicyRefusal, match="study"):
        file.check("may", release(file, IDS[:50], study=Study("s", 1)), 10)


def test_no_identifier_is_on_disk_and_another_key_gives_other_hashes(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    file.record("march", release(file, IDS), 10)
    held = (tmp_path / "releases.sqlite").read_bytes()
    assert not any(name.encode() in held for name in IDS)
    other = ReleaseFile(tmp_path / "other", Secret(bytes(32)))
    assert not set(file.hashes(IDS)) & set(other.hashes(IDS))


def test_another_key_or_a_damaged_file_is_refused_rather_than_taken_for_empty(tmp_path):
    file = ReleaseFile(tmp_path, KEY)
    file.record("march", release(file, IDS), 10)
    with pytest.raises(ConfigurationError, match="another key"):
        ReleaseFile(tmp_path, Secret(bytes(32)))
    path = tmp_path / "releases.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE release SET members = x'00'")
    db.close()
    with pytest.raises(DataError):
        file.check("april", release(file, IDS[1:]), 10)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(DataError):
        ReleaseFile(tmp_path, KEY)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_any_moment_of_recording_a_run_is_recorded_whole_or_not_at_all(tmp_path):
    """Forked, and killed at its n-th statement, for every n."""
    file = ReleaseFile(tmp_path, KEY)
    file.record("march", release(file, IDS[:200]), 10)
    new, killed = release(file, IDS[100:], study=Study("s", 9)), 0
    for moment in range(1, 40):
        child = os.fork()
        if child == 0:
            die_at(moment)
            ReleaseFile(tmp_path, KEY).record("april", new, 10)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert [entry.run for entry in ReleaseFile(tmp_path, KEY).history()] in (["march"], ["march", "april"])
        if not os.WIFSIGNALED(status):
            break
        killed += 1
    assert killed > 8
    file.record("april", new, 10)
    assert np.array_equal([len(e.columns) for e in file.history()], [1, 1])


def die_at(moment):
    """Kill this process at its moment-th SQL statement."""
    left = [moment]

    def traced(_statement):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    plain = sqlite3.connect

    def connect(*args, **kwargs):
        db = plain(*args, **kwargs)
        db.set_trace_callback(traced)
        return db

    sqlite3.connect = connect
