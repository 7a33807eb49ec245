"""connectrpc, the official Python client of the Connect protocol, with its default options.

They pack every request with gzip. Usage: connectrpc_calls.py http://HOST:PORT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from connectrpc.client import ConnectClientSync
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType

from proto import text2image_pb2 as pb

LONG = {"prompt": "a slow fox", "num_inference_steps": 150, "height": 256, "width": 256}


def method(name, answer, stream_type):
    return MethodInfo(
        name=name,
        service_name="text2image.Text2ImageService",
        input=pb.GenerateImageRequest,
        output=answer,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=stream_type,
    )


def refusal_of(client, request):
    try:
        client.execute_unary(request=request, method=UNARY)
    except ConnectError as error:
        return error
    raise AssertionError("it was not refused")


UNARY = method("GenerateImage", pb.GenerateImageResponse, StreamType.UNARY)
STREAM = method("StreamGenerateImage", pb.GenerateImageEvent, StreamType.SERVER_STREAM)

for name, codec in (
    ("proto", google_protobuf_binary_codec()),
    ("json", google_protobuf_json_codec()),
):
    client = ConnectClientSync(sys.argv[1], codec=codec)
    asked = pb.GenerateImageRequest(prompt="a fox", seed=5, num_inference_steps=3)
    answer = client.execute_unary(request=asked, method=UNARY)
    assert answer.images[0].data.startswith(b"\x89PNG")
    assert answer.images[0].seed == 5
    events = list(client.execute_server_stream(request=asked, method=STREAM))
    assert events[-1].HasField("done"), events[-1]
    assert events[-2].image.image.data == answer.images[0].data
    refused = refusal_of(client, pb.GenerateImageRequest(prompt=" "))
    assert refused.code is Code.INVALID_ARGUMENT, refused
    assert "prompt" in refused.message, refused
    for event in client.execute_server_stream(
        request=pb.GenerateImageRequest(**LONG), method=STREAM
    ):
        if event.HasField("progress"):
            break  # and with the iterator goes the call
    print("ok", name)
