"""`python client.py status`."""

from __future__ import annotations

import argparse

from text2image.cli.report import ExitCode, print_json, printable, seconds
from text2image.client import Text2ImageClient
from text2image.status import (
    Gpu,
    Limits,
    ModelState,
    ModelStatus,
    ReplicaStatus,
    ServiceStatus,
    State,
)

_EXIT_CODES = {State.READY: ExitCode.OK, State.FAILED: ExitCode.FAILED}


def show_status(args: argparse.Namespace, client: Text2ImageClient) -> ExitCode:
    """Print the status as a table or JSON; the exit code says whether it can generate."""
    status = client.status(timeout=args.timeout)
    if args.json:
        print_json(status)
    else:
        print(table(status, client.address), flush=True)
    return _EXIT_CODES.get(status.state, ExitCode.UNAVAILABLE)


def table(status: ServiceStatus, address: str) -> str:
    """The status as a table of two columns."""
    counters, latency, resources = status.counters, status.latency, status.resources
    rows = [
        ("state", f"{status.state.name} {printable(status.message)}".strip()),
        ("service", f"{address}, version {status.version}, up {seconds(status.uptime_s)}"),
        *(("model", describe_model(model)) for model in status.models),
        (
            "queue",
            f"{status.queue.running} running, {status.queue.queued} waiting, "
            f"room for {status.queue.capacity}",
        ),
        (
            "requests",
            f"{counters.received} received, {counters.completed} completed, "
            f"{counters.failed} failed, {counters.cancelled} cancelled, "
            f"{counters.rejected} rejected; {counters.images} images",
        ),
        (
            "latency",
            f"p50 {seconds(latency.p50_ms / 1000)}, p95 {seconds(latency.p95_ms / 1000)}, "
            f"p99 {seconds(latency.p99_ms / 1000)}, {latency.images_per_minute:.1f} images/min",
        ),
        (
            "resources",
            f"CPU {resources.cpu_percent:.0f} %, process {_size(resources.process_memory_bytes)}, "
            f"system {_size(resources.system_memory_used_bytes)} "
            f"of {_size(resources.system_memory_bytes)}",
        ),
        *(("gpu", describe_gpu(gpu)) for gpu in resources.gpus),
        *(("replica", describe_replica(replica)) for replica in status.replicas),
        ("limits", describe_limits(status.limits)),
        ("schedulers", " ".join(status.schedulers)),
        ("loras", " ".join(status.loras)),
    ]
    return "\n".join(f"{label:<11} {printable(text)}" for label, text in rows if text)


def describe_model(model: ModelStatus) -> str:
    state = "loaded" if model.loaded else "not loaded"
    if model.state in (ModelState.LOADING, ModelState.FAILED):
        state = f"{model.state.value}: {model.message}"
    if not model.num_parameters:  # not loaded since the service started
        return f"{model.name} ({state}) from {model.source}"
    size = f"{model.native_width}x{model.native_height}"
    million = model.num_parameters / 1e6
    return (
        f"{model.name} ({state}, {million:.1f} M parameters, {size}, {model.default_scheduler}) "
        f"on {model.device} {model.dtype} {model.runtime}"
    )


def describe_gpu(gpu: Gpu) -> str:
    used = f"{_size(gpu.memory_used_bytes)} of {_size(gpu.memory_bytes)}"
    return f"{gpu.name}: {used}, {gpu.utilization_percent:.0f} %, {gpu.temperature_celsius:.0f} °C"


def describe_replica(replica: ReplicaStatus) -> str:
    where = f", {replica.device} of {replica.host}" if replica.device else ""
    memory = _size(replica.process_memory_bytes) if replica.process_memory_bytes else ""
    told = f"{replica.name}: {replica.state.name}{where}, {replica.running} running"
    return ", ".join(part for part in (told, memory) if part)


def describe_limits(limits: Limits) -> str:
    return (
        f"{limits.min_size} to {limits.max_size} pixels a side in steps of {limits.size_multiple}, "
        f"{limits.max_pixels} in all; {limits.max_num_inference_steps} steps, "
        f"{limits.max_num_images} images, prompts of {limits.max_prompt_characters} characters"
    )


def _size(num_bytes: int) -> str:
    if num_bytes < 2**30:
        return f"{num_bytes / 2**20:.0f} MiB"
    return f"{num_bytes / 2**30:.1f} GiB"
