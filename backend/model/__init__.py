"""How a model runs. Home of torch, diffusers, transformers and openvino; imports no transport."""

import os

# Before huggingface_hub is first imported: it reads these once.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
# It tells at import that torchvision is missing, which nothing of ours needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
