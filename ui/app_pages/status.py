"""The Status page: the service's state and recent history, and the visitor's last jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import streamlit as st
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

import client
from ui.components import html
from ui.components.header import NAME, page_header, short_name
from ui.components.plots import Plot, draw, draw_histogram
from ui.monitor import Sample
from ui.session import owner, shared
from ui.storage.quarantine import Quarantine

REFRESH_S = 2
LAST_JOBS = 20
PASSING = (client.State.STARTING, client.State.DRAINING)


def main() -> None:
    page_header("Status")
    st.fragment(_service, run_every=REFRESH_S)()
    _jobs()
    _studio()


def _service() -> None:
    sample = shared().monitor.look()
    if sample is None:
        st.html(html.empty("Connecting…", f"Asking {shared().settings.address}."))
        return
    if sample.status is None:
        st.error(_down_text(sample), title="Unreachable", icon=":material/cloud_off:")
    else:
        st.html(_numbers(sample.status))
    st.html(_plots(sample))
    if sample.status is not None:
        if sample.status.last_hour:
            st.html(_last_hour(sample.status))
        if sample.status.replicas:
            st.html(_replicas(sample.status.replicas))
        _models(sample.status)


def _down_text(sample: Sample) -> str:
    since = datetime.fromtimestamp(sample.down_since or sample.at).strftime("%H:%M:%S")
    code = sample.error.code if sample.error else ""
    return (
        f"No answer from {shared().settings.address} since {since} ({code}). "
        "Trying again all the time; your gallery works meanwhile."
    )


def _numbers(status: client.ServiceStatus) -> str:
    counters, queue = status.counters, status.queue
    tiles = (
        ("State", status.state.value.capitalize(), status.message),
        ("Running", queue.running, "requests being worked on"),
        ("Waiting", f"{queue.queued} of {queue.capacity}", "places in the queue"),
        ("Pictures", f"{counters.images:,}", f"in {html.seconds(status.uptime_s * 1000)}"),
        ("Half are ready within", _latency(status.latency.p50_ms), "of the last minutes"),
        ("Nearly all within", _latency(status.latency.p95_ms), "95 of 100"),
    )
    return '<div class="ink-tiles">' + "".join(_tile(*tile) for tile in tiles) + "</div>"


def _tile(title: str, value: object, hint: str) -> str:
    return (
        f'<section class="ink-tile"><p>{html.escape(title)}</p>'
        f"<strong>{html.escape(value)}</strong><small>{html.escape(hint)}</small></section>"
    )


def _latency(milliseconds: float) -> str:
    return html.seconds(milliseconds) if milliseconds else "–"


def _plots(sample: Sample) -> str:
    history, now = shared().monitor.history(), time.time()
    drawn = "".join(draw(plot, history, now) for plot in _which_plots(sample))
    return f'<div class="ink-tiles ink-plots">{drawn}</div>'


def _last_hour(status: client.ServiceStatus) -> str:
    """The service's own histograms."""
    found = {histogram.name: histogram for histogram in status.last_hour}
    drawn = "".join(
        draw_histogram(title, found[name], show) for name, title, show in LAST_HOUR if name in found
    )
    heading = '<h2 class="ink-small">The last hour</h2>'
    return f'{heading}<div class="ink-tiles ink-plots ink-four">{drawn}</div>'


def _short_time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else html.seconds(seconds * 1000)


def _rows(value: float) -> str:
    return f"{value:.0f} row{'' if value == 1 else 's'}"


LAST_HOUR = (
    ("step_seconds", "One step", _short_time),
    ("batch_rows", "Rows in a step", _rows),
    ("wait_seconds", "Waiting in the queue", _short_time),
    ("generation_seconds", "A request, from start to end", _short_time),
)


def _which_plots(sample: Sample) -> list[Plot]:
    plots = [
        Plot("Running", lambda s: float(s.queue.running), lambda v: f"{v:.0f}"),
        Plot("Queue", lambda s: float(s.queue.queued), lambda v: f"{v:.0f}"),
        Plot(
            "Pictures a minute",
            lambda s: s.latency.images_per_minute,
            lambda v: f"{v:.1f}",
        ),
        Plot("Time until half are ready", lambda s: s.latency.p50_ms, html.seconds),
        Plot("Processor", lambda s: s.resources.cpu_percent, _percent, 100.0),
        Plot(
            "Memory of the service",
            lambda s: float(s.resources.process_memory_bytes),
            html.size,
            _memory(sample),
        ),
    ]
    gpus = sample.status.resources.gpus if sample.status else ()
    return plots + [_gpu_plot(index, gpu) for index, gpu in enumerate(gpus)]


def _gpu_plot(index: int, gpu: client.Gpu) -> Plot:
    def read(status: client.ServiceStatus) -> float | None:
        gpus = status.resources.gpus
        return float(gpus[index].memory_used_bytes) if index < len(gpus) else None

    return Plot(f"Memory of {gpu.name}", read, html.size, float(gpu.memory_bytes) or None)


def _memory(sample: Sample) -> float | None:
    return float(sample.status.resources.system_memory_bytes) or None if sample.status else None


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _replicas(replicas: Sequence[client.ReplicaStatus]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(replica.name)}</td>"
        f'<td class="{_colour(replica.state)}">{html.escape(replica.state.value.capitalize())}</td>'
        f"<td>{html.escape(replica.device)}</td><td>{html.escape(replica.host)}</td>"
        f"<td>{replica.running}</td><td>{html.size(replica.process_memory_bytes)}</td>"
        f'<td class="ink-wide">{html.escape(replica.message)}</td></tr>'
        for replica in replicas
    )
    return (
        '<h2 class="ink-small">Replicas</h2>'
        '<div class="ink-scroll" tabindex="0" role="region" aria-label="Replicas">'
        '<table class="ink-table"><thead><tr><th scope="col">Name</th><th scope="col">State</th>'
        '<th scope="col">Device</th><th scope="col">Machine</th><th scope="col">Running</th>'
        '<th scope="col">Memory</th><th scope="col">Message</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _colour(state: client.State) -> str:
    if state is client.State.READY:
        return "ink-green"
    return "ink-amber" if state in PASSING else "ink-red"


def _models(status: client.ServiceStatus) -> None:
    for model in status.models:
        st.html(
            f'<h2 class="ink-small">{html.escape(short_name(model.name))}</h2>'
            + html.facts(
                [
                    ("Loaded", "yes" if model.loaded else "no"),
                    ("Source", model.source),
                    ("Revision", model.revision[:16]),
                    ("Parameters", f"{model.num_parameters / 1e6:,.1f} million"),
                    ("Native size", f"{model.native_width} × {model.native_height}"),
                    ("Runs on", f"{model.device}, {model.dtype}, {model.runtime}"),
                    ("Why this runtime", model.runtime_reason),
                ]
            )
        )


def _jobs() -> None:
    st.html('<h2 class="ink-small">Your last jobs</h2>')
    entries = shared().journal.recent(owner(), LAST_JOBS)
    if not entries:
        st.html('<p class="ink-count">None yet.</p>')
        return
    rows = "".join(
        f"<tr><td>{datetime.fromtimestamp(e.created_at / 1000):%H:%M:%S}</td>"
        f"<td>{html.escape(e.state)}</td>"
        f"<td>{_took(e.created_at, e.finished_at)}</td>"
        f'<td class="ink-wide">{html.escape(e.recipe.get("prompt", "")[:120])}</td>'
        f"<td>{html.escape(e.error_code)}</td></tr>"
        for e in entries
    )
    st.html(
        '<div class="ink-scroll" tabindex="0" role="region" aria-label="Your last jobs">'
        '<table class="ink-table"><thead><tr><th scope="col">Asked</th><th scope="col">Ended</th>'
        '<th scope="col">Took</th><th scope="col">Prompt</th><th scope="col">Error</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _took(start_ms: int, end_ms: int | None) -> str:
    return "–" if end_ms is None else html.seconds(end_ms - start_ms)


def _studio() -> None:
    """The studio's own health."""
    sample = shared().monitor.look(patience_s=0)
    server = sample.status.version if sample and sample.status else "unknown"
    started = time.perf_counter()
    try:
        with shared().engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        answer = f"answers in {(time.perf_counter() - started) * 1000:.1f} ms"
    except SQLAlchemyError:
        answer = "does not answer"
    st.html('<h2 class="ink-small">The studio itself</h2>')
    st.html(
        html.facts(
            [
                ("Database", f"{shared().engine.dialect.name}, {answer}"),
                ("Your pictures", f"{shared().gallery.count(owner()):,}"),
                ("Your share of the disk", _share()),
                ("Storage", _storage()),
                ("Jobs under way for everybody", shared().jobs.num_active()),
                ("Versions", f"{NAME} on Streamlit {st.__version__}, image server {server}"),
            ]
        )
    )


def _storage() -> str:
    """What the recovery at the start found, and what the operator has to do."""
    set_aside = len(Quarantine(shared().settings.data_dir).files())
    told = shared().recovery.sentences()
    if set_aside:
        told.append(f"files in quarantine: {set_aside:,}")
    return "; ".join(told) or "every picture has its row and its file"


def _share() -> str:
    used = html.size(shared().gallery.bytes_used(owner()))
    return f"{used} of {html.size(shared().settings.quota_bytes)}"


main()
