"""stable-diffusion.cpp through its Python binding. Arguments: file, type, steps, size, port.

Runs in a virtual environment with stable-diffusion-cpp-python built for this CPU. `type` is the
ggml type of the weights.
"""

import os
import sys

from one_at_a_time import serve
from stable_diffusion_cpp import StableDiffusion

FILE, TYPE, STEPS, SIZE, PORT = sys.argv[1:6]


def main():
    model = StableDiffusion(
        model_path=FILE,
        wtype=TYPE,
        n_threads=os.cpu_count(),
        diffusion_flash_attn=True,
        vae_decode_only=True,
        verbose=False,
    )

    def draw(prompt):
        model.generate_image(
            prompt=prompt,
            sample_method="euler",
            sample_steps=int(STEPS),
            cfg_scale=5.0,
            height=int(SIZE),
            width=int(SIZE),
            seed=1,
        )

    serve(draw, int(PORT))


if __name__ == "__main__":
    main()
