"""Runs the model. The only package that imports torch, diffusers, transformers and openvino."""

import os

# huggingface_hub reads these once, when it is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Otherwise transformers warns at import that torchvision is missing; we don't need it.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
