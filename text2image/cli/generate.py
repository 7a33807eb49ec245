"""`python client.py generate`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from text2image.cli.display import Display, choose_display
from text2image.cli.files import Plan, choose_format, rescue_file, write_file
from text2image.cli.report import (
    ExitCode,
    UsageError,
    complain,
    fail,
    print_json,
    printable,
    seconds,
    to_json,
)
from text2image.client import Text2ImageClient
from text2image.errors import Text2ImageError
from text2image.stream import GenerationStream
from text2image.types import (
    Done,
    FinishedImage,
    GenerationInfo,
    Image,
    Progress,
    PromptSyntax,
    Queued,
)

MANY_BYTES = 2**20  # below, a message has room for them whatever the service


def plan_files(args: argparse.Namespace) -> Plan:
    """Choose the output files and check them.

    Raises:
        UsageError: one of them can't be written.
    """
    chosen = choose_format(args.output or Path(), args.format)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    output = args.output or Path(f"text2image-{stamp}.{chosen.value}")
    preview = args.preview_file
    if preview is None and args.preview:
        preview = output.with_name(f"{output.stem}.preview.jpg")
    plan = Plan(output, chosen, args.num_images, args.save_metadata, preview, args.overwrite)
    plan.check()
    return plan


def generate(args: argparse.Namespace, client: Text2ImageClient, plan: Plan) -> ExitCode:
    """Generate and show progress; each image is written as soon as it arrives."""
    sources = read_sources(args, client)
    display = choose_display(args.quiet, sys.stderr)
    run = Run(plan, display, print_files=not args.json)
    try:
        with start(args, client, plan, sources) as stream:
            run.follow(stream)
    except Text2ImageError as error:
        display.clear()
        return fail(error, args.json, images=run.pictures_to_json())
    finally:
        run.end()
    if args.json:
        print_json({"images": run.pictures_to_json(), "info": run.info})
    return run.exit_code


class Sources(NamedTuple):
    """The files that a picture starts from."""

    init_image: bytes | None
    mask: bytes | None


def read_sources(args: argparse.Namespace, client: Text2ImageClient) -> Sources:
    """Read the files to start from.

    Raises:
        UsageError: one can't be read, or they are larger than the service takes.
    """
    if args.mask and not args.init_image:
        raise UsageError("--mask needs --init-image")
    sources = Sources(_read(args.init_image), _read(args.mask))
    size = sum(len(data) for data in sources if data)
    if size > MANY_BYTES:
        limit = client.status().limits.max_picture_bytes
        if size > limit > 0:
            raise UsageError(f"{size:,} bytes to start from; the service takes {limit:,}")
    return sources


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}") from None


def start(
    args: argparse.Namespace, client: Text2ImageClient, plan: Plan, sources: Sources
) -> GenerationStream:
    return client.stream(
        args.prompt,
        negative_prompt=args.negative_prompt,
        height=args.height,
        width=args.width,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        seed=args.seed,
        num_images=args.num_images,
        scheduler=args.scheduler,
        model=args.model,
        output_format=plan.image_format,
        preview_interval=1 if plan.preview else None,
        loras=tuple(args.loras),
        prompt_syntax=args.prompt_syntax and PromptSyntax(args.prompt_syntax),
        clip_skip=args.clip_skip,
        init_image=sources.init_image,
        mask=sources.mask,
        strength=args.strength,
        upscale=args.upscale,
        upscale_strength=args.upscale_strength,
        request_id=args.request_id,
        timeout=args.timeout,
    )


@dataclass
class Run:
    """Writes the images of one generation to files."""

    plan: Plan
    display: Display
    print_files: bool  # on stdout
    info: GenerationInfo | None = None
    images: dict[int, Image] = field(default_factory=dict)
    files: dict[int, Path] = field(default_factory=dict)
    sidecars: dict[int, Path] = field(default_factory=dict)
    failed: bool = False
    preview_failed: bool = False

    def follow(self, stream: GenerationStream) -> None:
        """Handle each event."""
        for event in stream:
            match event:
                case Queued():
                    self.display.queued(event)
                case Progress():
                    self.display.progress(event)
                    self._save_preview(event)
                case FinishedImage(index, image):
                    self._save_picture(index, image, stream.request_id)
                case Done(info):
                    self.info = info
                    self._save_metadata(info)
                    self._say_end(info)

    @property
    def exit_code(self) -> ExitCode:
        if self.failed:
            return ExitCode.FAILED
        withheld = any(image.nsfw_detected for image in self.images.values())
        return ExitCode.WITHHELD if withheld else ExitCode.OK

    def pictures_to_json(self) -> list[dict[str, Any]]:
        return [
            {
                "index": index,
                "file": _name(self.files.get(index)),
                "metadata": _name(self.sidecars.get(index)),
                **to_json(image),
            }
            for index, image in sorted(self.images.items())
        ]

    def end(self) -> None:
        """Clean up in any case: remove bar and preview, and print the names of written files."""
        self.display.clear()
        if self.plan.preview:
            with suppress(OSError):
                self.plan.preview.unlink()
        for _, file in sorted(self.files.items()) if self.print_files else ():
            print(file, flush=True)

    def _save_preview(self, event: Progress) -> None:
        if event.preview is None or self.plan.preview is None or self.preview_failed:
            return
        try:
            write_file(self.plan.preview, event.preview.data, overwrite=True)
        except OSError as error:
            self.preview_failed = True
            self._complain(f"can't write the preview {self.plan.preview}: {error.strerror}")

    def _save_picture(self, index: int, image: Image, request_id: str) -> None:
        self.images[index] = image
        if image.nsfw_detected:
            self._complain(
                f"the safety checker withheld picture {index + 1} (seed {image.seed}): no file"
            )
            return
        file = self._save(self.plan.picture(index), image.data, request_id)
        if file:
            self.files[index] = file

    def _save_metadata(self, info: GenerationInfo) -> None:
        for index, file in self.files.items() if self.plan.save_metadata else ():
            story = {"file": _name(file), "seed": self.images[index].seed, **to_json(info)}
            data = json.dumps(story, indent=2, ensure_ascii=False).encode("utf-8", "replace")
            sidecar = self._save(self.plan.metadata(index), data + b"\n", info.request_id)
            if sidecar:
                self.sidecars[index] = sidecar

    def _save(self, file: Path, data: bytes, request_id: str) -> Path | None:
        """Write the file; if that fails, write it to a temporary folder. Prints the name."""
        try:
            write_file(file, data, self.plan.overwrite)
            return file
        except OSError as error:
            self.failed = True
            problem = f"can't write {file}: {error.strerror}"
        try:
            rescued = rescue_file(file, data)
        except OSError:
            self._complain(
                f"{problem}. The service keeps the result for some minutes: "
                f"make room and repeat the command with --request-id {request_id}"
            )
            return None
        self._complain(f"{problem}. It is kept in {rescued}")
        return rescued

    def _say_end(self, info: GenerationInfo) -> None:
        duration = seconds(info.timings.total_ms / 1000)
        seeds = ", ".join(str(image.seed) for _, image in sorted(self.images.items()))
        text = f"done in {duration} with {info.model} on {info.device}, seed {seeds}"
        self.display.say(printable(text))
        for warning in info.warnings:
            self._complain(f"warning: {printable(warning.description)}")

    def _complain(self, text: str) -> None:
        self.display.clear()
        complain(text)


def _name(file: Path | None) -> str | None:
    """The file name as valid text for JSON, whatever bytes it contains."""
    return None if file is None else os.fsencode(file).decode("utf-8", "replace")
