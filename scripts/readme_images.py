"""The pictures of README and docs, out of the screenshots."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

TARGET = Path(__file__).parent.parent / "docs" / "images"
PAGES = {
    "studio": "wide-light-studio-done",
    "gallery": "wide-light-gallery",
    "compare": "wide-light-compare",
    "status": "wide-light-status",
}
SESSIONS = {
    "wall": ("session-light-wall-done", (1600, 900)),
    "sessions-host": ("session-light-host-approve-first", (1440, 900)),
}
GUEST = ("guest-welcome", "guest-waiting", "guest-done")  # side by side
MAX_BYTES = 300_000
PHONE_SIZE = (520, 688)
QUALITY = 88


def write_readme_images(shots: Path) -> None:
    """Write them to docs/images/; `shots` is the folder of all screenshots."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, shot in PAGES.items():
        _write_page(shots / f"{shot}.png", TARGET / f"{name}.png")
    for name, (shot, size) in SESSIONS.items():
        with Image.open(shots / f"{shot}.png") as picture:
            _write_webp(_cropped(picture, *size), name)
    phones = Image.new("RGB", (len(GUEST) * PHONE_SIZE[0], PHONE_SIZE[1]))
    for number, shot in enumerate(GUEST):
        with Image.open(shots / f"session-light-{shot}.png") as picture:
            phones.paste(_cropped(picture, *PHONE_SIZE), (number * PHONE_SIZE[0], 0))
    _write_webp(phones, "sessions-guest")


def _cropped(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The upper part, at this size."""
    scale = width / picture.width
    scaled = picture.convert("RGB").resize(
        (width, round(picture.height * scale)), Image.Resampling.LANCZOS
    )
    return scaled.crop((0, 0, width, height))


def _write_page(shot: Path, path: Path) -> None:
    with Image.open(shot) as picture:
        full = picture.convert("RGB")
    full.save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:  # reduce colours if necessary
        dithered = full.quantize(256, palette=full.quantize(256))
        dithered.save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path} is larger than {MAX_BYTES} bytes")


def _write_webp(picture: Image.Image, name: str) -> None:
    picture.save(TARGET / f"{name}.webp", quality=QUALITY, method=6)
