"""Text2Image for Python programs and for the shell: `python client.py --help`.

    with Text2ImageClient("127.0.0.1:50051") as client:
        picture = client.generate("a red apple", seed=42).images[0]
        Path("apple.png").write_bytes(picture.data)

    with client.stream("a red apple", preview_interval=1) as stream:
        for event in stream:
            match event:
                case Progress(step, num_steps):
                    print(step, "of", num_steps)
                case FinishedImage(index, image):
                    ...

This module needs grpc and `proto/`, but not the backend.
"""

import os
import sys

if __name__ == "__main__":
    # gRPC reads this at import. Its core would log what our errors already say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from text2image.abilities import Abilities, Example, Thing, Words
from text2image.channel import Keepalive, Tls
from text2image.cli.arguments import build_parser
from text2image.cli.main import main
from text2image.client import ADDRESS_VARIABLE, Text2ImageClient
from text2image.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    ErrorDetails,
    Exhausted,
    Incompatible,
    InvalidRequest,
    ModelFailed,
    NotFound,
    PermissionDenied,
    QueueFull,
    ServerError,
    Text2ImageError,
    Unauthenticated,
    Unavailable,
    Violation,
)
from text2image.status import (
    Adapter,
    Counters,
    Figure,
    Gpu,
    Histogram,
    Latency,
    Limits,
    ModelState,
    ModelStatus,
    Queue,
    ReplicaStatus,
    Resources,
    ServiceStatus,
    State,
)
from text2image.stream import GenerationStream
from text2image.targets import DEFAULT_ADDRESS
from text2image.types import (
    Done,
    Event,
    Exactness,
    FinishedImage,
    Generation,
    GenerationInfo,
    GenerationOptions,
    GenerationParams,
    GenerationWarning,
    Image,
    ImageFormat,
    Lora,
    Progress,
    PromptSyntax,
    Queued,
    Timings,
)

__all__ = [
    "ADDRESS_VARIABLE",
    "DEFAULT_ADDRESS",
    "Abilities",
    "Adapter",
    "Cancelled",
    "Conflict",
    "Counters",
    "DeadlineExceeded",
    "Done",
    "ErrorDetails",
    "Event",
    "Exactness",
    "Example",
    "Exhausted",
    "Figure",
    "FinishedImage",
    "Generation",
    "GenerationInfo",
    "GenerationOptions",
    "GenerationParams",
    "GenerationStream",
    "GenerationWarning",
    "Gpu",
    "Histogram",
    "Image",
    "ImageFormat",
    "Incompatible",
    "InvalidRequest",
    "Keepalive",
    "Latency",
    "Limits",
    "Lora",
    "ModelFailed",
    "ModelState",
    "ModelStatus",
    "NotFound",
    "PermissionDenied",
    "Progress",
    "PromptSyntax",
    "Queue",
    "QueueFull",
    "Queued",
    "ReplicaStatus",
    "Resources",
    "ServerError",
    "ServiceStatus",
    "State",
    "Text2ImageClient",
    "Text2ImageError",
    "Thing",
    "Timings",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "Words",
    "build_parser",
    "main",
]

if __name__ == "__main__":
    sys.exit(main())
