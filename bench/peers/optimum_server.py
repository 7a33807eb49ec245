"""OpenVINO through optimum-intel. Arguments: folder, dtype, steps, size, port.

Runs in a virtual environment with optimum-intel and its own torch and transformers. Shapes are
fixed before compiling, as its documentation recommends for speed.
"""

import sys
from hashlib import sha256
from pathlib import Path

from diffusers import DDIMScheduler
from one_at_a_time import serve
from optimum.intel import OVStableDiffusionPipeline

FOLDER, DTYPE, STEPS, SIZE, PORT = sys.argv[1:6]
PRECISION = {"float32": "f32", "bfloat16": "bf16"}[DTYPE]


def converted() -> Path:
    """The converted model, cached per architecture."""
    configs = sorted(Path(FOLDER).glob("*/config.json"))
    digest = sha256(b"".join(file.read_bytes() for file in configs)).hexdigest()[:16]
    folder = Path("optimum") / digest
    if not (folder / "model_index.json").exists():
        OVStableDiffusionPipeline.from_pretrained(
            FOLDER, export=True, compile=False, load_in_8bit=False, safety_checker=None
        ).save_pretrained(folder)
    return folder


def main():
    pipeline = OVStableDiffusionPipeline.from_pretrained(
        converted(),
        compile=False,
        safety_checker=None,
        ov_config={"INFERENCE_PRECISION_HINT": PRECISION},
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.reshape(1, int(SIZE), int(SIZE), num_images_per_prompt=1)
    pipeline.compile()
    pipeline.set_progress_bar_config(disable=True)

    def draw(prompt):
        pipeline(
            prompt,
            num_inference_steps=int(STEPS),
            guidance_scale=5.0,
            height=int(SIZE),
            width=int(SIZE),
        )

    serve(draw, int(PORT))


if __name__ == "__main__":
    main()
