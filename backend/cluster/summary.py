"""The status of the whole: the front's own, with what the replicas measure added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from backend.cluster.member import Member
from backend.cluster.replica import Report
from backend.domain import Histogram, Resources, ServiceStatus

OF_REPLICAS = ("step_seconds", "batch_rows")  # the front runs no steps


def summary(own: ServiceStatus, members: Sequence[Member], gone: Sequence[Report]) -> ServiceStatus:
    """`own` with the replicas' steps, memory and GPUs; `gone`: reports of those that have ended."""
    present = [member.report for member in members if member.report is not None]
    all_reports = [*present, *gone]
    return replace(
        own,
        resources=_resources(own.resources, present),
        histograms=_added(own.histograms, [one.status.histograms for one in all_reports]),
        last_hour=_added(own.last_hour, [one.status.last_hour for one in present]),
        replicas=tuple(member.status for member in members),
    )


def _resources(own: Resources, reports: Iterable[Report]) -> Resources:
    """CPU and memory of all processes; the machine's memory is the front's."""
    others = [report.status.resources for report in reports]
    return replace(
        own,
        cpu_percent=min(100.0, own.cpu_percent + sum(other.cpu_percent for other in others)),
        process_memory_bytes=own.process_memory_bytes
        + sum(other.process_memory_bytes for other in others),
        gpus=(*own.gpus, *(gpu for other in others for gpu in other.gpus)),
    )


def _added(
    own: Sequence[Histogram], theirs: Sequence[Sequence[Histogram]]
) -> tuple[Histogram, ...]:
    return tuple(
        _sum([histogram, *(one for some in theirs for one in some if one.name == histogram.name)])
        if histogram.name in OF_REPLICAS
        else histogram
        for histogram in own
    )


def _sum(parts: Sequence[Histogram]) -> Histogram:
    columns = zip(*(part.counts for part in parts), strict=True)
    counts = tuple(map(sum, columns))
    return replace(parts[0], counts=counts, sum=sum(part.sum for part in parts))
