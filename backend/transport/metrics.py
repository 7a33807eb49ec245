"""A log line for every call, and Prometheus metrics."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from backend.transport.rpc.call import Call

log = structlog.get_logger(__name__)

PREFIX = "text2image_"
# Seconds: GetStatus takes a millisecond, an image on a busy laptop minutes.
BUCKETS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
POLLED = ("GetStatus",)  # every client calls it once a second: logged at debug level


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._histogram(
            "request_seconds", "Calls, from arrival to the last byte.", "method", "code", "model"
        )
        self._first_event = self._histogram(
            "first_event_seconds", "From arrival to a stream's first event.", "method", "model"
        )
        self._queue = self._histogram("queue_seconds", "Waiting of finished requests.", "model")
        self._run = self._histogram("run_seconds", "Running of finished requests.", "model")
        self._refused_callers = self._counter(
            "authentication_failures", "Calls without a valid API key.", "reason"
        )
        self._http = self._counter(
            "http_refusals", "HTTP requests that no rpc was made of.", "status"
        )

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=BUCKETS, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def ended(self, call: Call) -> None:
        """Record an rpc that was answered, refused or cancelled."""
        self._requests.labels(call.method, call.code, call.model).observe(call.total_s)
        if call.first_event_s is not None:
            self._first_event.labels(call.method, call.model).observe(call.first_event_s)
        told: dict[str, object] = {
            "method": call.method,
            "client": call.client,
            "code": call.code,
            "id": call.request_id,
            "ms": round(call.total_s * 1000),
        }
        if call.timings is not None:
            queued_s = call.timings.queued_ms / 1000
            run_s = max(0.0, call.timings.total_ms / 1000 - queued_s)
            self._queue.labels(call.model).observe(queued_s)
            self._run.labels(call.model).observe(run_s)
            told |= {"queued_ms": round(queued_s * 1000), "run_ms": round(run_s * 1000)}
        if call.method in POLLED and call.code == "OK":
            log.debug("request", **told)
        else:
            log.info("request", **told)

    def refused_caller(self, address: str, reason: str) -> None:
        """Record a caller without a valid key. While locked out it is counted but not logged."""
        self._refused_callers.labels(reason).inc()
        if reason != "locked out":
            log.warning("authentication failed", address=address, reason=reason)

    def refused_http(self, method: str, path: str, status: int, address: str) -> None:
        """Record an HTTP request that was refused without calling an rpc."""
        self._http.labels(str(status)).inc()
        log.info("http", method=method, path=path[:100], status=status, address=address)
