import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from sqlalchemy import create_engine

import client
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, error_info, retry_info
from ui import job as job_module
from ui.job import Job, Phase
from ui.jobs import Jobs, TooManyJobs
from ui.recipe import Recipe
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal

RECIPE = Recipe("a cat", width=64, height=64, steps=3, seed=5)
CODE = grpc.StatusCode


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def jobs(
    service: FakeService, engine_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Jobs]:
    monkeypatch.setattr(job_module, "RETRY_DELAYS_S", (0.05, 0.05))
    monkeypatch.setattr(job_module, "LOADING_POLL_S", 0.05)
    engine = create_engine(f"sqlite:///{engine_path}")
    prepare(engine)
    files = PictureFiles(tmp_path / "pictures")
    files.prepare()
    gallery = Gallery(engine, files, 10**8)
    channel = client.Text2ImageClient(service.address)
    made = Jobs(channel, gallery, Journal(engine), max_per_owner=2)
    yield made
    made.close()
    channel.close()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def finish(job: Job) -> Job:
    until(lambda: not job.is_active)
    return job


def test_a_job_ends_with_its_pictures_in_the_gallery_and_its_end_in_the_journal(
    jobs: Jobs, service: FakeService
) -> None:
    job = finish(jobs.submit("ada", replace(RECIPE, count=2)))
    assert job.phase is Phase.DONE
    assert [picture.seed for picture in job.pictures] == [5, 6]
    assert jobs._gallery.count("ada") == 2
    assert jobs._journal.recent("ada")[0].state == "done"
    assert service.metadata[0]["x-text2image-client"] == "ada"


def test_a_job_keeps_what_the_service_could_not_follow(jobs: Jobs, service: FakeService) -> None:
    service.warnings = [
        pb.GenerationWarning(field="prompt", description="It was cut.", reason="PROMPT_CUT")
    ]
    (warning,) = finish(jobs.submit("me", RECIPE)).warnings
    assert (warning.description, warning.reason) == ("It was cut.", "PROMPT_CUT")


def test_a_size_that_nobody_knew_yet_is_the_service_s_own(jobs: Jobs, service: FakeService) -> None:
    job = finish(jobs.submit("ada", replace(RECIPE, width=0, height=0)))
    assert not service.requests[0].HasField("width")
    assert not service.requests[0].HasField("height")
    (picture,) = job.pictures
    assert picture.width == picture.height > 0


def test_nobody_has_to_watch(jobs: Jobs) -> None:
    jobs.submit("ada", RECIPE)
    until(lambda: jobs._gallery.count("ada") == 1)


def test_progress_and_previews_are_seen_on_the_way(jobs: Jobs, service: FakeService) -> None:
    service.hang_at_step = 2
    job = jobs.submit("ada", replace(RECIPE, steps=12))
    until(lambda: job.step == 1)
    assert job.phase is Phase.RUNNING
    assert job.num_steps == 12
    until(lambda: job.preview is not None)
    job.cancel()


def test_cancelling_frees_the_service(jobs: Jobs, service: FakeService) -> None:
    service.hang_at_step = 1
    job = jobs.submit("ada", RECIPE)
    until(lambda: service.active == 1)
    job.cancel()
    assert job.phase in (Phase.CANCELLING, Phase.CANCELLED)
    assert service.wait_cancelled()
    assert finish(job).phase is Phase.CANCELLED
    assert job.pictures == []


def test_cancelling_before_the_first_answer_works_too(jobs: Jobs, service: FakeService) -> None:
    service.failure = Failure(CODE.UNAVAILABLE, "loading", (error_info("MODEL_LOADING"),))
    job = jobs.submit("ada", RECIPE)
    job.cancel()
    assert finish(job).phase is Phase.CANCELLED


def test_the_queue_is_told(jobs: Jobs, service: FakeService) -> None:
    service.queue, service.queue_s = [3, 2, 1], 0.2
    job = jobs.submit("ada", RECIPE)
    until(lambda: job.phase is Phase.QUEUED)
    assert job.position in (1, 2, 3)
    assert finish(job).phase is Phase.DONE


def test_a_model_that_is_being_loaded_is_told(jobs: Jobs, service: FakeService) -> None:
    service.queue, service.queue_s, service.loading = [0], 0.3, "Loading drawings"
    job = jobs.submit("ada", RECIPE)
    until(lambda: job.phase is Phase.LOADING)
    assert job.message == "Loading drawings"
    assert finish(job).phase is Phase.DONE


@pytest.mark.parametrize(
    "code",
    [
        CODE.INVALID_ARGUMENT,
        CODE.INTERNAL,
        CODE.RESOURCE_EXHAUSTED,
        CODE.DEADLINE_EXCEEDED,
        CODE.FAILED_PRECONDITION,
        CODE.PERMISSION_DENIED,
        CODE.UNIMPLEMENTED,
        CODE.DATA_LOSS,
        CODE.CANCELLED,
    ],
)
def test_every_failure_ends_the_job_with_its_story(
    jobs: Jobs, service: FakeService, code: grpc.StatusCode
) -> None:
    service.failure = Failure(code, "no")
    job = finish(jobs.submit("ada", RECIPE))
    assert job.phase is Phase.FAILED
    assert job.failure is not None
    assert jobs._journal.recent("ada")[0].error_code == job.failure.code
    assert jobs._gallery.count("ada") == 0


def test_a_loading_model_is_waited_for(jobs: Jobs, service: FakeService) -> None:
    details = (error_info("MODEL_LOADING"), retry_info(0.05))
    service.failure = Failure(CODE.UNAVAILABLE, "Loading", details)
    service.failures_left = 8
    assert finish(jobs.submit("ada", RECIPE)).phase is Phase.DONE


def test_a_full_queue_is_tried_once_more(jobs: Jobs, service: FakeService) -> None:
    details = (error_info("QUEUE_FULL"), retry_info(0.05))
    service.failure = Failure(CODE.RESOURCE_EXHAUSTED, "full", details)
    service.failures_left = 1
    assert finish(jobs.submit("ada", RECIPE)).phase is Phase.DONE
    service.failures_left = None
    assert finish(jobs.submit("ada", RECIPE)).phase is Phase.FAILED


def test_a_queue_that_stays_full_is_not_tried_again(jobs: Jobs, service: FakeService) -> None:
    details = (error_info("QUEUE_FULL"), retry_info(600))
    service.failure = Failure(CODE.RESOURCE_EXHAUSTED, "full", details)
    job = finish(jobs.submit("ada", RECIPE))
    assert job.failure is not None
    assert job.failure.retry_after_s == 600
    assert len(service.requests) == 1


def test_what_broke_in_mid_run_is_not_repeated_unasked(jobs: Jobs, service: FakeService) -> None:
    service.failure, service.fail_at_step = Failure(CODE.UNAVAILABLE, "gone"), 2
    job = finish(jobs.submit("ada", RECIPE))
    assert job.failure is not None
    assert "broke after step" in job.failure.text
    assert len(service.requests) == 1


def test_a_stream_that_ends_early_is_a_failure(jobs: Jobs, service: FakeService) -> None:
    service.cut_short = True
    assert finish(jobs.submit("ada", RECIPE)).phase is Phase.FAILED


def test_a_withheld_picture_is_counted_and_not_kept(jobs: Jobs, service: FakeService) -> None:
    service.nsfw = [0]
    job = finish(jobs.submit("ada", replace(RECIPE, count=2)))
    assert (job.phase, job.withheld, len(job.pictures)) == (Phase.DONE, 1, 1)


def test_a_picture_that_cannot_be_kept_is_not_lost(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(jobs._gallery, "add", full)
        job = finish(jobs.submit("ada", RECIPE))
        assert job.phase is Phase.DONE
        assert job.unsaved[0].reason == "No space left on device"
    jobs.retry_save(job)
    assert job.unsaved == []
    assert len(job.pictures) == 1


def test_what_could_not_be_kept_waits_until_it_can(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    job = finish(jobs.submit("ada", replace(RECIPE, count=2)))
    assert [item.reason for item in job.unsaved] == ["the gallery's folder is gone"] * 2
    monkeypatch.setattr("ui.jobs.KEEP_FINISHED_S", -1.0)
    jobs.retry_all_saves()
    assert finish(jobs.submit("ada", RECIPE.with_seed(9))).unsaved
    assert jobs.get("ada", job.id) is job
    assert len(job.unsaved) == 2
    (tmp_path / "elsewhere").rename(tmp_path / "pictures")
    jobs.retry_all_saves()
    assert job.unsaved == []
    assert sorted(picture.seed for picture in job.pictures) == [5, 6]
    assert [jobs._gallery.read(picture)[:4] for picture in job.pictures] == [b"\x89PNG"] * 2


def test_a_picture_whose_row_failed_is_one_picture_after_the_second_try(
    jobs: Jobs, engine_path: Path, tmp_path: Path
) -> None:
    engine_path.rename(tmp_path / "aside.db")
    job = finish(jobs.submit("ada", RECIPE))
    assert job.unsaved[0].reason == "the gallery's database did not answer"
    (tmp_path / "aside.db").rename(engine_path)
    jobs.retry_all_saves()
    assert jobs._gallery.count("ada") == 1
    assert len(list((tmp_path / "pictures").glob("*/*.png"))) == 1


def test_memory_full_of_unsaved_pictures_takes_no_more_jobs(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    finish(jobs.submit("ada", RECIPE))
    monkeypatch.setattr("ui.jobs.MAX_UNSAVED_BYTES", 10)
    with pytest.raises(TooManyJobs, match="1 finished pictures wait for room"):
        jobs.submit("eve", RECIPE)
    with pytest.raises(TooManyJobs):
        jobs.submit_batch("eve", {}, [RECIPE])


def test_what_no_folder_took_is_rescued_at_the_end(
    jobs: Jobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rescued = tmp_path / "tmp"
    rescued.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(rescued))
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    job = finish(jobs.submit("ada", replace(RECIPE, count=2)))
    made = sorted(item.image.data for item in job.unsaved)
    jobs.close()
    files = list(rescued.rglob("*.png"))
    assert sorted(path.read_bytes() for path in files) == made
    assert str(files[0].parent) in caplog.text


def test_a_locked_journal_costs_nobody_a_picture(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def locked(*_args: object) -> None:
        raise OperationalError("insert", {}, Exception("database is locked"))

    monkeypatch.setattr(jobs._journal, "open", locked)
    monkeypatch.setattr(jobs._journal, "close", locked)
    assert finish(jobs.submit("ada", RECIPE)).phase is Phase.DONE


def test_a_double_click_starts_one_job(jobs: Jobs, service: FakeService) -> None:
    service.hang_at_step = 0
    assert jobs.submit("ada", RECIPE) is jobs.submit("ada", RECIPE)
    jobs.close()


def test_an_owner_has_so_many_jobs_and_another_owner_their_own(
    jobs: Jobs, service: FakeService
) -> None:
    service.hang_at_step = 0
    for seed in (1, 2):
        jobs.submit("ada", RECIPE.with_seed(seed))
    with pytest.raises(TooManyJobs):
        jobs.submit("ada", RECIPE.with_seed(3))
    jobs.submit("eve", RECIPE)
    assert len(jobs.active("ada")) == 2
    jobs.close()


def test_a_job_is_its_owner_s(jobs: Jobs) -> None:
    job = finish(jobs.submit("ada", RECIPE))
    assert jobs.get("ada", job.id) is job
    assert jobs.get("eve", job.id) is None
    assert jobs.get("ada", None) is None


def test_a_batch_runs_a_few_at_a_time_and_fills_its_cells(jobs: Jobs, service: FakeService) -> None:
    service.step_s = 0.05
    recipes = [RECIPE.with_seed(seed) for seed in range(6)]
    batch = jobs.submit_batch("ada", {"plan": 1}, recipes)
    most = 0

    def is_full() -> bool:
        nonlocal most
        most = max(most, service.active)
        return len(jobs._gallery.of_batch("ada", batch)) == 6

    until(is_full)
    assert most <= 2
    pictures = jobs._gallery.of_batch("ada", batch)
    assert {cell: picture.seed for cell, picture in pictures.items()} == dict(enumerate(range(6)))
    assert jobs.of("ada") == []


def test_a_batch_can_be_cancelled_as_a_whole(jobs: Jobs, service: FakeService) -> None:
    service.hang_at_step = 1
    batch = jobs.submit_batch("ada", {}, [RECIPE.with_seed(seed) for seed in range(4)])
    until(lambda: service.active == 2)
    jobs.cancel_all("ada", batch)
    until(lambda: not jobs.active("ada"))
    until(lambda: service.active == 0)
    assert {job.phase for job in jobs.of_batch("ada", batch).values()} == {Phase.CANCELLED}


def test_threads_end_with_their_jobs(jobs: Jobs) -> None:
    finish(jobs.submit("ada", RECIPE))
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("job-")])


def test_the_end_of_the_studio_is_in_the_journal_at_once(jobs: Jobs, service: FakeService) -> None:
    service.hang_at_step = 1
    for seed in range(3):  # one of them waits for its turn
        jobs.submit_batch("ada", {}, [RECIPE.with_seed(seed)])
    until(lambda: service.active == 2)
    jobs.close()
    assert [entry.state for entry in jobs._journal.recent("ada")] == ["interrupted"] * 3
