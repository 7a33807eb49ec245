"""The status and about pages, with a scripted image server and no browser."""

from pathlib import Path

from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from tests.ui.conftest import png
from tests.ui.pages import OWNER, Visit, choose, html_of, keep, on, wait_for
from ui.connection import services
from ui.storage.quarantine import Quarantine


def test_the_status_page_tells_numbers_models_and_the_studio(
    visit: Visit, service: FakeService
) -> None:
    service.status.queue.queued = 3
    service.status.latency.p50_ms = 1234
    service.status.resources.gpus.append(
        pb.GetStatusResponse.Gpu(name="H200", memory_bytes=2**37, memory_used_bytes=2**36)
    )
    seen = html_of(on("status", visit()))
    for text in ("3 of 64", "1.2 s", "Memory of H200", "64 GB", "0123abcd", "sqlite", "None yet"):
        assert text in seen
    assert "Busy · 3 waiting" in seen
    assert seen.count("Half are ready within") == 1
    assert ': 1.2 s"></b>' in seen  # under the pointer


def test_the_status_page_says_since_when_the_service_is_gone(
    visit: Visit, service: FakeService
) -> None:
    service.stop()
    app = on("status", visit())
    wait_for(app, lambda a: bool(a.error))
    assert app.error[0].proto.title == "Unreachable"
    assert service.address in app.error[0].body


def test_the_last_jobs_are_listed_with_their_errors(visit: Visit) -> None:
    app = visit().run()
    services().journal.open("j", OWNER, {"prompt": "<b>cat</b>"})
    services().journal.close("j", "failed", "QUEUE_FULL", "")
    seen = html_of(on("status", app))
    assert "QUEUE_FULL" in seen
    assert "&lt;b&gt;cat" in seen


def test_about_names_the_model_its_licence_and_its_figures(visit: Visit) -> None:
    seen = html_of(on("about", visit()))
    for name, value in (
        ("Model", "fake"),
        ("Licence of the weights", "mit"),
        ("cats drawn", "9 of 10"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in seen


def test_about_fills_the_snippets_with_the_studio_s_settings(visit: Visit) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("a very special cat").run()
    app.slider(key="guidance").set_value(3.5).run()
    app = on("about", app)
    assert "a very special cat" in app.code[0].value
    assert "guidance_scale=3.5" in app.code[0].value
    choose(app, "language", "curl")
    assert app.code[0].value.startswith("curl")


def test_everything_can_be_deleted(visit: Visit) -> None:
    app = visit().run()
    keep("a cat")
    other = keep("not yours", owner="s-eve")
    app = on("about", app)
    app.button(key="wipe-confirm").click().run()
    assert services().gallery.count(OWNER) == 0
    assert services().gallery.get("s-eve", other.id) is not None


def test_what_waits_in_quarantine_is_told(visit: Visit, tmp_path: Path) -> None:
    assert "every picture has its row and its file" in html_of(on("status", visit()))
    stray = tmp_path / "pictures" / "ab" / "abc.png"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(png())
    assert Quarantine(tmp_path).take([stray], "for the test") == 1
    assert "files in quarantine: 1" in html_of(on("status", visit()))


def test_the_last_hour_is_drawn_from_the_service_s_histograms(
    visit: Visit, service: FakeService
) -> None:
    service.status.last_hour.add(
        name="step_seconds", bounds=[0.05, 0.1, 2], counts=[0, 3, 1, 0], sum=0.5
    )
    service.status.last_hour.add(name="batch_rows", bounds=[1, 2], counts=[0, 0, 0])
    page = html_of(on("status", visit()))
    assert "The last hour" in page
    assert 'title="up to 100 ms: 3 of 4"' in page
    assert 'title="up to 2.0 s: 1 of 4"' in page
    assert "Half up to 100 ms" in page
    assert "Rows in a step: nothing in the last hour" in page


def test_replicas_are_listed_where_there_are_several(visit: Visit, service: FakeService) -> None:
    service.status.replicas.add(
        name="replica-1", state="STATE_READY", device="cuda", host="gpu7", running=2, message="<b>"
    )
    page = html_of(on("status", visit()))
    assert "Replicas" in page
    for cell in ("replica-1", "Ready", "cuda", "gpu7", "2", "&lt;b&gt;"):
        assert f">{cell}</td>" in page


def test_a_replica_that_is_lost_stands_out(visit: Visit, service: FakeService) -> None:
    for state in ("STATE_READY", "STATE_STARTING", "STATE_STUCK", "STATE_FAILED"):
        service.status.replicas.add(name=state, state=state)
    page = html_of(on("status", visit()))
    for cell in ('green">Ready', 'amber">Starting', 'red">Stuck', 'red">Failed'):
        assert f'<td class="ink-{cell}</td>' in page


def test_about_opens_with_the_model(visit: Visit, service: FakeService) -> None:
    service.status.models[0].num_parameters = 5_200_000
    service.status.models[0].abilities.about = "One thing at a time."
    page = html_of(on("about", visit()))
    assert page.index("One thing at a time.") < page.index("Describe a picture")
    assert "5.2 million" in page
