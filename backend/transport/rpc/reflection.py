"""Server reflection as v1alpha and v1: new clients ask for v1, which grpcio lacks.

They differ only in the package name, so v1's descriptor is derived from v1alpha's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

ALPHA, V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
V1_SERVICE = f"{V1}.ServerReflection"
METHOD = "ServerReflectionInfo"


def enable(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Enable reflection of `services` and of reflection itself."""
    names = (*services, reflection.SERVICE_NAME, V1_SERVICE)
    _describe_v1()
    reflection.enable_server_reflection(names, server)
    servicer: Any = reflection.aio.ReflectionServicer(names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    generic = grpc.method_handlers_generic_handler(V1_SERVICE, {METHOD: handler})
    server.add_generic_rpc_handlers((generic,))


def _describe_v1() -> None:
    v1 = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(v1)
    v1.name, v1.package = "grpc/reflection/v1/reflection.proto", V1
    for message in v1.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(ALPHA, V1)
    for method in v1.service[0].method:
        method.input_type = method.input_type.replace(ALPHA, V1)
        method.output_type = method.output_type.replace(ALPHA, V1)
    descriptor_pool.Default().AddSerializedFile(v1.SerializeToString())
