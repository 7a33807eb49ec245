"""The status of the whole: the front's own, with what the replicas measure added up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from backend.cluster.member import Member
from backend.cluster.replica import Report
from backend.domain import Histogram, Resources, ServiceStatus

OF_REPLICAS = ("step_seconds", "batch_rows")  # the front runs no steps


def summary(
    own: ServiceStatus, members: Sequence[Member], gone: Sequence[Histogram]
) -> ServiceStatus:
    """`own` with the replicas' steps, memory and GPUs; `gone`: steps of those that have ended."""
    reports = [member.report for member in members if member.report is not None]
    since_start = [own.histograms, *(one.status.histograms for one in reports), gone]
    last_hour = [own.last_hour, *(one.status.last_hour for one in reports)]
    return replace(
        own,
        resources=_resources(own.resources, reports),
        histograms=_with_steps(*since_start),
        last_hour=_with_steps(*last_hour),
        replicas=tuple(member.status for member in members),
    )


def added(*parts: Sequence[Histogram]) -> tuple[Histogram, ...]:
    """Histograms of the same names added up."""
    by_name = defaultdict[str, list[Histogram]](list)
    for histogram in chain(*parts):
        by_name[histogram.name].append(histogram)
    return tuple(_sum(same) for same in by_name.values())


def _with_steps(own: Sequence[Histogram], *theirs: Sequence[Histogram]) -> tuple[Histogram, ...]:
    steps = [[one for one in part if one.name in OF_REPLICAS] for part in theirs]
    return added(own, *steps)


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


def _sum(parts: Sequence[Histogram]) -> Histogram:
    columns = zip(*(part.counts for part in parts), strict=True)
    counts = tuple(map(sum, columns))
    return replace(parts[0], counts=counts, sum=sum(part.sum for part in parts))
