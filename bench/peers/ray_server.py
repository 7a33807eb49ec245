"""diffusers behind Ray Serve's @serve.batch. Arguments: folder, dtype, steps, size, port.

Runs in a virtual environment that has ray[serve]; its usage statistics are off.
"""

import base64
import io
import os
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from starlette.requests import Request

FOLDER, DTYPE, STEPS, SIZE, PORT = sys.argv[1:6]


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Pictures:
    def __init__(self):
        import torch
        from diffusers import StableDiffusionPipeline

        torch.set_num_threads(os.cpu_count())
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            FOLDER, torch_dtype=getattr(torch, DTYPE), safety_checker=None
        )
        self.pipeline.set_progress_bar_config(disable=True)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.05)
    async def draw(self, prompts):
        return self.pipeline(
            list(prompts),
            num_inference_steps=int(STEPS),
            guidance_scale=5.0,
            height=int(SIZE),
            width=int(SIZE),
        ).images

    async def __call__(self, request: Request):
        picture = await self.draw((await request.json())["prompt"])
        png = io.BytesIO()
        picture.save(png, "PNG")
        return {"image": base64.b64encode(png.getvalue()).decode()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(PORT)})
    serve.run(Pictures.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
