"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.transport.http.body import unless_disconnected
from backend.transport.http.compression import respond
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from backend.transport.metrics import PREFIX, Metrics
from proto import text2image_pb2 as pb


async def healthz(request: Request) -> Response:
    """200 if the process is alive and its event loop responsive."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 if the service can generate, else 503, by grpc.health.v1."""
    upstream: Upstream = request.app.state.upstream
    if await upstream.is_serving():
        return JSONResponse({"status": "serving"})
    return JSONResponse({"status": "not serving"}, status_code=503)


async def metrics(request: Request) -> Response:
    """GetStatus and the counters since the start, in the Prometheus text format."""
    upstream: Upstream = request.app.state.upstream
    method = SERVICE.methods_by_name["GetStatus"]
    call = upstream.call(method, pb.GetStatusRequest(), caller_of(request))
    status = await unless_disconnected(request, call)
    assert isinstance(status, pb.GetStatusResponse)
    registry = CollectorRegistry()
    registry.register(_Snapshot(status))
    counted: Metrics = request.app.state.metrics

    def text() -> bytes:
        return generate_latest(registry) + generate_latest(counted.registry)

    return await respond(request, text, CONTENT_TYPE_LATEST)


class _Snapshot(Collector):
    def __init__(self, status: pb.GetStatusResponse) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        yield from _counters(status.counters)
        yield _gauge("ready", "1 when the service can generate.", status.state == _READY)
        yield _gauge("uptime_seconds", "Time since the start.", status.uptime_s)
        yield _gauge("queue_queued", "Requests that wait.", status.queue.queued)
        yield _gauge("queue_running", "Requests that run.", status.queue.running)
        yield _gauge("queue_capacity", "Places in the queue.", status.queue.capacity)
        yield _gauge(
            "images_per_minute", "Over the last minutes.", status.latency.images_per_minute
        )
        yield from _resources(status.resources)
        yield from (_histogram(found) for found in status.histograms if found.name in _HISTOGRAMS)


_READY = pb.GetStatusResponse.STATE_READY


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _counters(counters: pb.GetStatusResponse.Counters) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        PREFIX + "requests", "Requests since the start, by outcome.", labels=["outcome"]
    )
    for outcome in ("completed", "failed", "cancelled", "rejected"):
        requests.add_metric([outcome], getattr(counters, outcome))
    yield requests
    yield CounterMetricFamily(
        PREFIX + "requests_received", "Requests since the start.", value=counters.received
    )
    yield CounterMetricFamily(PREFIX + "images", "Images made.", value=counters.images)


# Requests are in `Metrics`, by model.
_HISTOGRAMS = {
    "step_seconds": "Calls of the denoising network.",
    "batch_rows": "Rows of each call of the denoising network.",
}


def _histogram(found: pb.GetStatusResponse.Histogram) -> Metric:
    bounds = [*map(floatToGoString, found.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(found.counts), strict=True))
    text = _HISTOGRAMS[found.name]
    return HistogramMetricFamily(PREFIX + found.name, text, buckets=buckets, sum_value=found.sum)


def _resources(resources: pb.GetStatusResponse.Resources) -> Iterator[Metric]:
    yield _gauge("cpu_percent", "The process's, of all cores.", resources.cpu_percent)
    yield _gauge("process_memory_bytes", "Resident memory.", resources.process_memory_bytes)
    for field, text in (
        ("memory_bytes", "Memory of each GPU."),
        ("memory_used_bytes", "Used memory of each GPU."),
        ("utilization_percent", "Utilization of each GPU."),
        ("temperature_celsius", "Temperature of each GPU."),
    ):
        family = GaugeMetricFamily(f"{PREFIX}gpu_{field}", text, labels=["gpu", "name"])
        for index, gpu in enumerate(resources.gpus):
            family.add_metric([str(index), gpu.name], getattr(gpu, field))
        yield family
