"""diffusers behind LitServe with dynamic batching. Arguments: folder, dtype, steps, size, port.

Runs in a virtual environment that has litserve.
"""

import base64
import io
import sys

import litserve
import torch
from diffusers import StableDiffusionPipeline

FOLDER, DTYPE, STEPS, SIZE, PORT = sys.argv[1:6]


class Pictures(litserve.LitAPI):
    def setup(self, device):
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            FOLDER, torch_dtype=getattr(torch, DTYPE), safety_checker=None
        )
        self.pipeline.set_progress_bar_config(disable=True)

    def decode_request(self, request):
        return request["prompt"]

    def predict(self, prompts):
        return self.pipeline(
            list(prompts),
            num_inference_steps=int(STEPS),
            guidance_scale=5.0,
            height=int(SIZE),
            width=int(SIZE),
        ).images

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        png = io.BytesIO()
        output.save(png, "PNG")
        return {"image": base64.b64encode(png.getvalue()).decode()}


if __name__ == "__main__":
    api = Pictures(max_batch_size=8, batch_timeout=0.05)
    server = litserve.LitServer(api, accelerator="cpu", timeout=600)
    server.run(host="127.0.0.1", port=int(PORT), generate_client_file=False)
