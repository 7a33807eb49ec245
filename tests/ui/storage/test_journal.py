import time

import pytest
from sqlalchemy import Engine

from ui.storage.journal import LEASE_MS, Journal
from ui.storage.schema import JOBS


def test_a_job_is_noted_from_its_start_to_its_end(journal: Journal) -> None:
    journal.open("j1", "ada", {"prompt": "a cat"})
    assert journal.recent("ada")[0].state == "open"
    journal.close("j1", "failed", "QUEUE_FULL", "no room")
    entry = journal.recent("ada")[0]
    assert (entry.state, entry.error_code, entry.error_text) == ("failed", "QUEUE_FULL", "no room")
    assert entry.finished_at is not None
    assert journal.recent("eve") == []


def test_a_restart_interrupts_what_was_open(engine: Engine) -> None:
    before = Journal(engine, "here")
    before.open("j1", "ada", {"prompt": "a cat"})
    before.open("j2", "eve", {})
    before.close("j2", "done")
    after = Journal(engine, "here")
    assert after.interrupt_lost_jobs() == 1
    entry = after.interrupted("ada")
    assert entry is not None
    assert entry.recipe == {"prompt": "a cat"}
    assert after.interrupted("eve") is None


def test_a_newer_job_hides_the_interrupted_one(engine: Engine) -> None:
    Journal(engine, "here").open("j1", "ada", {})
    journal = Journal(engine, "here")
    journal.interrupt_lost_jobs()
    journal.open("j2", "ada", {})
    assert journal.interrupted("ada") is None


def test_another_studio_s_jobs_are_left_alone_while_it_lives(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, journal = Journal(engine, "there"), Journal(engine, "here")
    other.open("j1", "ada", {})
    assert journal.interrupt_lost_jobs() == 0
    later = time.time_ns() + 10**6 * (LEASE_MS - 1)
    monkeypatch.setattr(time, "time_ns", lambda: later)
    other.extend_leases()
    later += 10**6 * (LEASE_MS - 1)
    assert journal.interrupt_lost_jobs() == 0
    later += 10**6 * 2
    assert journal.interrupt_lost_jobs() == 1
    assert journal.recent("ada")[0].state == "interrupted"


def test_an_end_that_comes_late_is_noted_all_the_same(engine: Engine) -> None:
    journal = Journal(engine, "here")
    journal.open("j1", "ada", {})
    Journal(engine, "here").interrupt_lost_jobs()
    journal.close("j1", "done")
    assert journal.recent("ada")[0].state == "done"


def test_jobs_from_before_there_were_leases_are_interrupted(engine: Engine) -> None:
    journal = Journal(engine, "here")
    journal.open("j1", "ada", {})
    with engine.begin() as connection:
        connection.execute(JOBS.update().values(runner=None, lease_until=None))
    assert journal.interrupt_lost_jobs() == 1


def test_batches_are_their_owner_s(journal: Journal) -> None:
    batch_id = journal.add_batch("ada", {"x": [1, 2]})
    found = journal.batch("ada", batch_id)
    assert found is not None
    assert found.plan == {"x": [1, 2]}
    assert journal.batch("eve", batch_id) is None
    assert [batch.id for batch in journal.batches("ada")] == [batch_id]


def test_an_owner_can_be_forgotten(journal: Journal) -> None:
    journal.open("j1", "ada", {})
    journal.add_batch("ada", {})
    journal.forget("ada")
    assert journal.recent("ada") == []
    assert journal.batches("ada") == []
