"""`python -m text2image.mcp`: serves the tools on stdio, calling the service over gRPC."""

from __future__ import annotations

import argparse
import os

import anyio
from mcp.server.stdio import stdio_server

from text2image.channel import Tls
from text2image.cli.arguments import API_KEY_VARIABLE
from text2image.client import ADDRESS_VARIABLE, Text2ImageClient
from text2image.mcp.library import LibraryService
from text2image.mcp.server import build_server
from text2image.targets import DEFAULT_ADDRESS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m text2image.mcp", description=__doc__)
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"of the service's gRPC port; default ${ADDRESS_VARIABLE}, else {DEFAULT_ADDRESS}",
    )
    parser.add_argument("--tls", action="store_true", help="encrypt, trusting the system's CAs")
    args = parser.parse_args()
    key = os.environ.get(API_KEY_VARIABLE)
    try:
        client = Text2ImageClient(args.address, tls=Tls() if args.tls else None, api_key=key)
    except ValueError as error:
        parser.error(str(error))
    with client:
        anyio.run(_serve, client)


async def _serve(client: Text2ImageClient) -> None:
    service = LibraryService(client)
    server = build_server(
        lambda ctx: service,
        version="1",
        on_list_resources=service.list_resources,
        on_read_resource=service.read_resource,
    )
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


if __name__ == "__main__":
    main()
