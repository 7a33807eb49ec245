from ui.storage.journal import Journal


def test_a_job_is_noted_from_its_start_to_its_end(journal: Journal) -> None:
    journal.open("j1", "ada", {"prompt": "a cat"})
    assert journal.recent("ada")[0].state == "open"
    journal.close("j1", "failed", "QUEUE_FULL", "no room")
    entry = journal.recent("ada")[0]
    assert (entry.state, entry.error_code, entry.error_text) == ("failed", "QUEUE_FULL", "no room")
    assert entry.finished_at is not None
    assert journal.recent("eve") == []


def test_a_restart_interrupts_what_was_open(journal: Journal) -> None:
    journal.open("j1", "ada", {"prompt": "a cat"})
    journal.open("j2", "eve", {})
    journal.close("j2", "done")
    assert journal.interrupt_open_jobs() == 1
    entry = journal.interrupted("ada")
    assert entry is not None
    assert entry.recipe == {"prompt": "a cat"}
    assert journal.interrupted("eve") is None


def test_a_newer_job_hides_the_interrupted_one(journal: Journal) -> None:
    journal.open("j1", "ada", {})
    journal.interrupt_open_jobs()
    journal.open("j2", "ada", {})
    assert journal.interrupted("ada") is None


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
