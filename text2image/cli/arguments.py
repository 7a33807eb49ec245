"""The command line's arguments."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from text2image.cli.files import FORMAT_NAMES
from text2image.cli.report import EXIT_CODES_HELP
from text2image.targets import DEFAULT_ADDRESS
from text2image.types import Lora, PromptSyntax

API_KEY_VARIABLE = "TEXT2IMAGE_API_KEY"

_EPILOG = f"""\
{EXIT_CODES_HELP}
environment:
  TEXT2IMAGE_ADDRESS  HOST:PORT where --address is not given
  {API_KEY_VARIABLE}  the API key, where the service wants one

examples:
  python client.py status
  python client.py generate "a red apple" --output apple.png
  python client.py generate "a green apple" --init-image apple.png --strength 0.6
  python client.py generate "a red apple" --num-images 3 --seed 7 --save-metadata -o apple.webp
"""
_FILES_HELP = """\
files:
  Several pictures are named apple.png, apple-2.png, apple-3.png. --save-metadata writes
  apple.json beside apple.png: everything needed to make it again, and where the time went.
  --preview keeps the latest preview in apple.preview.jpg until the pictures are there.
  A file that exists is refused before anything is generated, unless --overwrite is given.
  The paths written are printed on stdout, one per line; progress goes to stderr.

"""


def build_parser() -> argparse.ArgumentParser:
    """`python client.py [status | generate] ...`"""
    parser = argparse.ArgumentParser(
        prog="client.py",
        description="Talk to a Text2Image service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_status(commands)
    _add_generate(commands)
    return parser


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "status",
        help="show how the service is",
        description="Show how the service is. Exits with 0 where it is ready to generate, 3 where "
        "it is loading or shutting down or does not answer, 1 where its model failed.",
        allow_abbrev=False,
    )
    _add_connection(parser)
    parser.add_argument(
        "--timeout", type=_positive, default=5.0, metavar="S", help="seconds to wait (default 5)"
    )


def _add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "generate",
        help="generate pictures from a prompt",
        description="Generate pictures from a prompt. What is not given is the service's default.",
        epilog=_FILES_HELP + EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_picture(parser)
    _add_files(parser)
    _add_connection(parser)
    parser.add_argument(
        "--timeout", type=_positive, metavar="S", help="give up after so many seconds"
    )
    parser.add_argument(
        "--request-id", metavar="ID", help="names the request: the same one again is not made twice"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def _add_picture(parser: argparse.ArgumentParser) -> None:
    picture = parser.add_argument_group("picture")
    picture.add_argument("prompt", help="what the picture should show")
    picture.add_argument("--negative-prompt", metavar="TEXT", help="what it should not show")
    picture.add_argument("--width", type=int, metavar="PIXELS")
    picture.add_argument("--height", type=int, metavar="PIXELS")
    picture.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    picture.add_argument(
        "--guidance-scale", type=float, metavar="X", help="how closely to follow the prompt"
    )
    picture.add_argument(
        "--seed", type=int, metavar="N", help="the same seed makes the same picture; -1: any"
    )
    picture.add_argument(
        "--num-images", type=_at_least_one, default=1, metavar="N", help="picture i uses seed + i"
    )
    picture.add_argument(
        "--init-image", type=Path, metavar="FILE", help="start from this PNG, JPEG or WebP"
    )
    picture.add_argument(
        "--strength", type=float, metavar="X", help="how far to depart from it, above 0 to 1"
    )
    picture.add_argument(
        "--mask", type=Path, metavar="FILE", help="of its size: draw anew what is white here"
    )
    picture.add_argument(
        "--upscale", type=float, metavar="X", help="then draw it again, so many times as large"
    )
    picture.add_argument(
        "--upscale-strength", type=float, metavar="X", help="how far that may depart from it"
    )
    picture.add_argument("--scheduler", metavar="NAME", help="noise scheduler; see status")
    picture.add_argument("--model", metavar="NAME", help="see status")
    picture.add_argument(
        "--lora", type=_lora, action="append", default=[], metavar="NAME[:SCALE]", dest="loras"
    )
    picture.add_argument(
        "--prompt-syntax",
        choices=[syntax.value for syntax in PromptSyntax],
        help="a1111: (word:1.3) weighs more, [word] less, long prompts are read whole, "
        "<lora:name:0.8> applies a LoRA (default plain: all of it is text)",
    )
    picture.add_argument(
        "--clip-skip", type=int, metavar="N", help="read the text encoder's N-th layer from its end"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: text2image-TIME.png"
    )
    files.add_argument(
        "--format", choices=tuple(FORMAT_NAMES), help="default: by the ending of FILE, else png"
    )
    files.add_argument("--save-metadata", action="store_true", help="write FILE's .json beside it")
    files.add_argument("--preview", action="store_true", help="keep writing a preview beside FILE")
    files.add_argument("--preview-file", type=Path, metavar="FILE", help="write the preview here")
    files.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    connection = parser.add_argument_group("connection")
    connection.add_argument("--address", metavar="HOST:PORT[,…]", help=f"default {DEFAULT_ADDRESS}")
    connection.add_argument(
        "--wait", type=_positive, metavar="S", help="first wait so long until it is ready"
    )
    connection.add_argument("--tls", action="store_true", help="encrypt, trusting the system's CAs")
    for name, text in (
        ("ca", "encrypt, trusting this CA"),
        ("cert", "our certificate, where the service asks for one"),
        ("key", "its private key"),
    ):
        connection.add_argument(f"--tls-{name}", type=Path, metavar="PEM", help=text)


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("must be more than 0 seconds")
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError("must be 1 or more, and no more than the service allows")
    return value


def _lora(text: str) -> Lora:
    name, _, scale = text.partition(":")
    return Lora(name, float(scale) if scale else 1.0)
