"""The MCP server: lists the tools, calls the service, and reports progress."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import anyio
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
)

from text2image.mcp import tools
from text2image.mcp.report import models_of, picture_of, says, state_of
from text2image.mcp.service import Refused, Service
from text2image.types import (
    Done,
    FinishedImage,
    GenerationInfo,
    GenerationOptions,
    Image,
    Progress,
    Queued,
)

Context = ServerRequestContext[Any, Any]
ServiceOf = Callable[[Context], Service]

NAME = "text2image"
INSTRUCTIONS = "Makes pictures from texts. Ask list_models for sizes and what the model can draw."
WITHHELD = "The safety checker withheld the picture; another seed may pass."


def build_server(service_of: ServiceOf, version: str, **handlers: Any) -> Server[Any]:
    """Build a server; tools use `service_of(request)`, `handlers` are those for resources."""

    async def list_tools(ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=list(tools.TOOLS))

    async def call_tool(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        call = CALLS.get(params.name)
        if call is None:
            return failed(f"There is no tool of this name. There are: {', '.join(CALLS)}.")
        service = service_of(ctx)
        return await _unless_gone(service, lambda: call(service, ctx, params.arguments or {}))

    return Server(
        NAME,
        version=version,
        title="Text2Image",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        **handlers,
    )


def failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


async def _unless_gone(
    service: Service, call: Callable[[], Awaitable[CallToolResult]]
) -> CallToolResult:
    """Cancel the call when its caller disconnects; the SDK handles cancel requests."""
    result = failed("Cancelled.")
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await service.caller_is_gone()
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            result = await call()
        except Refused as refusal:
            result = failed(str(refusal))
        group.cancel_scope.cancel()
    return result


async def generate_image(
    service: Service, ctx: Context, arguments: Mapping[str, Any]
) -> CallToolResult:
    options = tools.options_of(arguments)
    options.pop("strength", None)
    return await _generate(service, ctx, arguments.get("prompt"), options)


async def edit_image(
    service: Service, ctx: Context, arguments: Mapping[str, Any]
) -> CallToolResult:
    options = tools.options_of(arguments)
    for name, option in tools.FILES.items():
        if arguments.get(name) or name == "image":
            options[option] = _file(service, name, arguments.get(name))  # type: ignore[literal-required]
    return await _generate(service, ctx, arguments.get("prompt"), options)


def _file(service: Service, name: str, text: object) -> bytes:
    """A picture by its address here, or in base64, maybe as a data URL.

    Raises:
        Refused: it is neither.
    """
    if isinstance(text, str):
        if (found := service.find(text)) is not None:
            return found
        with suppress(ValueError):
            data = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
            if data:
                return data
    raise Refused(f"{name}: Send the address of a picture made here, or a file in base64.")


async def _generate(
    service: Service, ctx: Context, prompt: object, options: GenerationOptions
) -> CallToolResult:
    if not isinstance(prompt, str):
        return failed("prompt: Say what the picture should show.")
    images: dict[int, Image] = {}
    info: GenerationInfo | None = None
    was_told = False
    async with aclosing(service.generate(prompt, options)) as events:
        async for event in events:
            match event:
                case Queued(position) if not was_told:
                    was_told = True
                    await ctx.session.report_progress(0, None, f"In queue, {position} before this")
                case Progress(step, num_steps):
                    was_told = True
                    await ctx.session.report_progress(step, num_steps, f"Step {step}")
                case FinishedImage(index, image):
                    images[index] = image
                case Done(found):
                    info = found
    if info is None:
        return failed("The service ended the generation before it was done.")
    return _answer(service, [images[index] for index in sorted(images)], info)


def _answer(service: Service, images: list[Image], info: GenerationInfo) -> CallToolResult:
    shown = [image for image in images if not image.nsfw_detected]
    if not shown:
        return failed(WITHHELD)
    content: list[ContentBlock] = []
    told = []
    for image in shown:
        data = base64.b64encode(image.data).decode()
        content.append(ImageContent(data=data, mime_type=image.mime_type))
        address = service.keep(image)
        told.append(picture_of(image, address))
        if address:
            name = f"text2image-{image.seed}.{image.mime_type.removeprefix('image/')}"
            content.append(
                ResourceLink(
                    name=name, uri=address, mime_type=image.mime_type, size=len(image.data)
                )
            )
    withheld = len(images) - len(shown)
    content.append(TextContent(text=says(shown, info, withheld)))
    structured = {"images": told, "withheld": withheld, "warnings": _warnings(info)}
    return CallToolResult(content=content, structured_content=structured)


def _warnings(info: GenerationInfo) -> list[str]:
    return [warning.description for warning in info.warnings]


async def list_models(
    service: Service, ctx: Context, arguments: Mapping[str, Any]
) -> CallToolResult:
    return _told(models_of(await service.status()))


async def get_status(
    service: Service, ctx: Context, arguments: Mapping[str, Any]
) -> CallToolResult:
    return _told(state_of(await service.status()))


def _told(found: tuple[str, Mapping[str, Any]]) -> CallToolResult:
    text, structured = found
    return CallToolResult(content=[TextContent(text=text)], structured_content=dict(structured))


CALLS = {
    "generate_image": generate_image,
    "edit_image": edit_image,
    "list_models": list_models,
    "get_status": get_status,
}
