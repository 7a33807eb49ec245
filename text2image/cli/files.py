"""Output files: checked before generating, written atomically."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from text2image.cli.report import UsageError
from text2image.types import ImageFormat

FORMATS = {
    ".png": ImageFormat.PNG,
    ".jpg": ImageFormat.JPEG,
    ".jpeg": ImageFormat.JPEG,
    ".webp": ImageFormat.WEBP,
}
FORMAT_NAMES = {"png": ImageFormat.PNG, "jpeg": ImageFormat.JPEG, "webp": ImageFormat.WEBP}


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of one generation: apple.png, apple-2.png, ... and their metadata files."""

    output: Path
    image_format: ImageFormat
    num_images: int
    save_metadata: bool
    preview: Path | None
    overwrite: bool

    def picture(self, index: int) -> Path:
        """The first image has the given name, the others get a number."""
        if index == 0:
            return self.output
        return self.output.with_name(f"{self.output.stem}-{index + 1}{self.output.suffix}")

    def metadata(self, index: int) -> Path:
        """The metadata file of an image."""
        return self.picture(index).with_suffix(".json")

    def check(self) -> None:
        """Check that all files can be written, before the service does any work.

        Raises:
            UsageError: names the file or folder and the reason.
        """
        files = list(self._files())
        if len(set(files)) < len(files):
            raise UsageError(f"{self.preview} is to be the preview and a picture at once")
        for folder in {file.parent for file in files}:
            _check_folder(folder)
        for file in files:
            _check_file(file, self.overwrite)

    def _files(self) -> Iterator[Path]:
        for index in range(self.num_images):
            yield self.picture(index)
            if self.save_metadata:
                yield self.metadata(index)
        if self.preview:
            yield self.preview


def choose_format(output: Path, name: str | None) -> ImageFormat:
    """By --format, else by the file's extension, else PNG.

    Raises:
        UsageError: the two disagree, or the extension is unknown.
    """
    suffix = output.suffix.lower()
    if suffix and suffix not in FORMATS:
        raise UsageError(f"{output}: name it .png, .jpg or .webp")
    by_suffix = FORMATS.get(suffix)
    by_name = FORMAT_NAMES[name] if name else None
    if by_suffix and by_name and by_suffix is not by_name:
        raise UsageError(f"{output} and --format {name} don't go together")
    return by_name or by_suffix or ImageFormat.PNG


def _check_folder(folder: Path) -> None:
    """Try to write: permissions alone don't show that a disk is read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise UsageError(f"can't write to the folder {folder}: {error.strerror}") from None


def _check_file(file: Path, overwrite: bool) -> None:
    try:
        if file.is_dir():
            raise UsageError(f"{file} is a folder")
        if not overwrite and os.path.lexists(file):
            raise UsageError(f"{file} exists: choose another name, or --overwrite")
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}") from None


def write_file(file: Path, data: bytes, overwrite: bool) -> None:
    """Write a file atomically; an existing one is replaced only if that was requested.

    Raises:
        OSError: for example FileExistsError, or the disk is full.
    """
    part = file.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            part.replace(file)
        else:
            _move_new(part, file)
    finally:
        part.unlink(missing_ok=True)


def _move_new(part: Path, file: Path) -> None:
    try:
        os.link(part, file)  # unlike a rename it fails where the name is taken
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system, in each system's own words
        file.open("xb").close()
        try:
            part.replace(file)
        except OSError:
            file.unlink(missing_ok=True)
            raise


def rescue_file(file: Path, data: bytes) -> Path:
    """Write to a new folder in the system's temporary folder, when the planned file failed.

    Raises:
        OSError: this fails too.
    """
    rescued = Path(tempfile.mkdtemp(prefix="text2image-")) / file.name
    rescued.write_bytes(data)
    return rescued
