"""Generate the thumbnails of the embedded model's examples: `python scripts/examples.py`.

Needs a running service at $TEXT2IMAGE_ADDRESS. Writes a thumbnail for each example of
`abilities.json` next to that file; run it again when the model or its examples change.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from backend.model.abilities import EXAMPLES, read_abilities, thumbnail_name  # noqa: E402
from backend.model.checkpoint.source import embedded_model  # noqa: E402
from client import Text2ImageClient  # noqa: E402

SIDE = 256  # pixels
QUALITY = 84
STEPS = 30  # the studio's default


def main() -> int:
    folder = embedded_model()
    abilities = read_abilities(folder)
    if abilities is None or not abilities.examples:
        sys.exit(f"{folder}: abilities.json names no examples")
    shutil.rmtree(folder / EXAMPLES, ignore_errors=True)
    (folder / EXAMPLES).mkdir()
    total = 0
    with Text2ImageClient() as client:
        served = client.status().models[0].name
        if served != folder.name:
            sys.exit(f"the service serves {served}, not {folder.name}")
        for example in abilities.examples:
            made = client.generate(example.prompt, seed=example.seed, num_inference_steps=STEPS)
            data = _small(made.images[0].data)
            (folder / EXAMPLES / thumbnail_name(example.prompt, example.seed)).write_bytes(data)
            total += len(data)
    print(f"{len(abilities.examples)} pictures, {total:,} bytes")
    return 0


def _small(data: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
