"""Measures speed: the bare UNet, with CUDA graphs, in the engine, and diffusers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.loading import NOW
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.model.devices import pick_device
from backend.model.measure.costs import Costs
from backend.model.measure.subject import ModelSubject, row_shape
from backend.model.pipeline import LatentDiffusion
from backend.model.runtime.cuda_graphs import GraphRuntime
from bench.gpu_check.stage import Bench, Found, timed_ms
from bench.subject import Listener

MIB = 1 << 20


def networks(bench: Bench) -> Iterator[Found]:
    """Milliseconds of every network (the UNet eager and with graphs), and memory per row."""
    model = bench.large_model()
    runtime, device = model.runtime, model.runtime.device
    eager: Any = runtime.eager if isinstance(runtime, GraphRuntime) else runtime
    subject = ModelSubject(model.components, runtime, NOW)
    height, width = model.info.native_height, model.info.native_width
    for rows in bench.rows:
        inputs = unet_inputs(model, rows)
        reference = eager.denoise(*inputs)
        eager_ms = timed_ms(partial(eager.denoise, *inputs), device, bench.repeats)
        yield Found(f"UNet, {rows} rows, eager, ms", round(eager_ms, 2))
        if not isinstance(runtime, GraphRuntime):
            continue
        started = time.perf_counter()
        first = runtime.denoise(*inputs)
        capture_s = time.perf_counter() - started
        graph_ms = timed_ms(partial(runtime.denoise, *inputs), device, bench.repeats)
        yield Found(f"UNet, {rows} rows, in a graph, ms", round(graph_ms, 2))
        yield Found(f"capture, {rows} rows, s", round(capture_s, 2), "<= 1", capture_s <= 1)
        is_equal = bool(torch.equal(first, reference))
        yield Found(f"a graph of {rows} rows computes as eagerly", is_equal, "equal", is_equal)
        reserved = torch.cuda.memory_reserved(device) / MIB
        yield Found(f"reserved after {rows} rows, MiB", round(reserved))
    if isinstance(runtime, GraphRuntime):
        yield Found("graphs", runtime.remark or runtime.num_captures, "", not runtime.remark)
    decode_ms = min(subject.decode(height, width) for _ in range(bench.repeats))
    yield Found("decode, ms", round(decode_ms, 2))
    yield Found("encode, ms", round(min(subject.encode() for _ in range(bench.repeats)), 2))
    rows = bench.rows[-1]
    row_bytes = subject.step_bytes(height, width, rows) / rows / MIB
    yield Found("memory of a row, MiB", round(row_bytes, 1))


def layouts(bench: Bench) -> Iterator[Found]:
    """Compares channels_last, our layout, with contiguous weights."""
    model = bench.large_model()
    runtime: Any = model.runtime
    eager = runtime.eager if isinstance(runtime, GraphRuntime) else runtime
    inputs = unet_inputs(model, bench.rows[-1])
    measure = partial(
        timed_ms, partial(eager.denoise, *inputs), model.runtime.device, bench.repeats
    )
    last_ms = measure()
    eager.unet.to(memory_format=torch.contiguous_format)
    first_ms = measure()
    eager.unet.to(memory_format=torch.channels_last)
    yield Found("channels_last ÷ contiguous, UNet", round(last_ms / first_ms, 3), "< 1")


def one_picture(bench: Bench) -> Iterator[Found]:
    """A step of the model relative to the bare UNet: overhead of Python and noise schedulers."""
    model = bench.large_model()
    device = model.runtime.device
    bare_ms = timed_ms(
        partial(model.runtime.denoise, *unet_inputs(model, 2)), device, 2 * bench.repeats
    )
    listener, seconds = run_engine(bench, model, 1)
    params = bench.params(model, 0)
    trajectory = model.prepare(params, 0)
    model.denoise_step([trajectory])

    def steps() -> None:
        for _ in range(trajectory.num_evaluations - 1):
            model.denoise_step([trajectory])

    started = time.perf_counter()
    steps()
    model.preview(trajectory)  # waits
    step_ms = (time.perf_counter() - started) * 1000 / max(1, trajectory.num_evaluations - 1)
    ratio = step_ms / bare_ms
    yield Found("one picture: ms a step ÷ the UNet's", round(ratio, 3), "<= 1.15", ratio <= 1.15)
    yield Found("one picture through the engine, s", round(seconds, 3), "", not listener.errors)


def beside_others(bench: Bench) -> Iterator[Found]:
    """Captures a graph while another thread uses the device on another stream."""
    model = bench.embedded_model()
    runtime = model.runtime
    if not isinstance(runtime, GraphRuntime):
        yield Found("captures beside another thread", "not checked", "needs CUDA")
        return
    runtime.drop()
    stop = threading.Event()

    def disturb() -> None:
        with torch.cuda.stream(torch.cuda.Stream(runtime.device)):
            while not stop.is_set():
                torch.ones(1000, device=runtime.device).sum().item()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        before = runtime.num_captures
        for rows in bench.rows[:4]:
            runtime.denoise(*unet_inputs(model, rows))
        captures = runtime.num_captures - before
    finally:
        stop.set()
        thread.join()
    expected = len(bench.rows[:4])
    yield Found(
        "captures beside another thread",
        runtime.remark or captures,
        str(expected),
        captures == expected,
    )


def mixed_crowd(bench: Bench) -> Iterator[Found]:
    """Eight different requests, one of them aborted: step times stay as calibrated."""
    model = bench.embedded_model()
    costs = Costs(model, bench.settings())
    costs.calibrate(NOW)
    cost, listener = costs.model, Listener()
    engine = Engine(model, Scheduler(cost, max_queue=100), cost, listener)
    requests = [
        Request(
            f"r{number}",
            f"c{number}",
            bench.params(
                model,
                number,
                scheduler=model.info.schedulers[number % len(model.info.schedulers)],
                preview_interval=number % 3,
            ),
            time.perf_counter(),
        )
        for number in range(8)
    ]
    for request in requests:
        engine.add(request)
    for number in range(100_000):
        if not engine.step():
            break
        if number == 5:
            engine.abort(requests[3])
    errors = [str(error) for error in listener.errors]
    done = len(listener.pixels)
    yield Found("pictures of a mixed crowd", errors or done, "7", done == 7 and not errors)
    calm = 0.8 <= cost.slowdown <= 1.25
    yield Found("slowdown against calibration", round(cost.slowdown, 3), "0.8 to 1.25", calm)


def throughput(bench: Bench) -> Iterator[Found]:
    """Pictures per second by number of callers, compared with diffusers one at a time."""
    model = bench.large_model()
    costs = Costs(model, bench.settings())
    costs.calibrate(NOW)
    ours = {}
    for callers in bench.callers:
        run_engine(bench, model, callers, costs.model)  # captures
        count = max(callers, 4)
        listener, seconds = run_engine(bench, model, count, costs.model, callers)
        ours[callers] = count / seconds
        yield Found(
            f"ours, {callers} callers, pictures/s",
            round(ours[callers], 3),
            "",
            not listener.errors,
        )
    theirs = dict(diffusers_rates(bench, model))
    for name, floor in (("eager", 3.0), ("compiled", 2.2)):
        rate = theirs.get(name)
        if rate is None:
            yield Found(f"diffusers {name}, one after the other", "not checked", "needs a compiler")
            continue
        most = bench.callers[-1]
        yield Found(f"diffusers {name}, one after the other, pictures/s", round(rate, 3))
        ratio = ours[most] / rate
        yield Found(
            f"ours with {most} callers ÷ diffusers {name}",
            round(ratio, 2),
            f">= {floor}",
            ratio >= floor,
        )


def diffusers_rates(bench: Bench, model: LatentDiffusion) -> Iterator[tuple[str, float]]:
    pipeline: Any = StableDiffusionPipeline.from_pretrained(
        bench.large_folder(),
        dtype=model.runtime.dtype,
        variant="fp16" if [*bench.large_folder().glob("unet/*.fp16.*")] else None,
        local_files_only=True,
        safety_checker=None,
        requires_safety_checker=False,
    ).to(pick_device(bench.settings()))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)  # as ours
    yield "eager", _rate(bench, model, pipeline)
    if bench.compiles and shutil.which("cc"):
        pipeline.unet = torch.compile(pipeline.unet, mode="reduce-overhead", fullgraph=True)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode)
        yield "compiled", _rate(bench, model, pipeline)


def _rate(bench: Bench, model: LatentDiffusion, pipeline: Any) -> float:
    def picture(number: int) -> None:
        params = bench.params(model, number)
        pipeline(
            params.prompt,
            height=params.height,
            width=params.width,
            guidance_scale=params.guidance_scale,
            num_inference_steps=params.num_inference_steps,
            generator=torch.Generator("cpu").manual_seed(number),
            output_type="np",
        )

    picture(0)
    started = time.perf_counter()
    for number in range(bench.repeats):
        picture(number)
    return bench.repeats / (time.perf_counter() - started)


def run_engine(
    bench: Bench,
    model: LatentDiffusion,
    count: int,
    cost: CostModel | None = None,
    callers: int = 1,
) -> tuple[Listener, float]:
    """Seconds to generate `count` pictures for callers that each request again when served."""
    listener = Listener()
    cost = cost or CostModel()
    engine = Engine(model, Scheduler(cost, max_queue=1000), cost, listener)
    waiting = [
        Request(f"r{number}", f"c{number % callers}", bench.params(model, number), 0.0)
        for number in range(count)
    ]
    for request in waiting:
        request.arrived_s = time.perf_counter()
    started = time.perf_counter()
    added = 0
    while len(listener.ended_s) + len(listener.errors) < count:
        while added < count and added - len(listener.ended_s) - len(listener.errors) < callers:
            engine.add(waiting[added])
            added += 1
        engine.step()
    return listener, time.perf_counter() - started


def unet_inputs(
    model: LatentDiffusion, rows: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = row_shape(model.components, model.info.native_height, model.info.native_width)
    generator = torch.Generator().manual_seed(0)

    def noise(*sizes: int) -> torch.Tensor:
        drawn = torch.randn(sizes, generator=generator)
        return drawn.to(model.runtime.device, model.runtime.dtype)

    timesteps = torch.linspace(999.0, 1.0, rows)
    return noise(rows, *shape.latents), timesteps, noise(rows, *shape.prompt_embeds)
