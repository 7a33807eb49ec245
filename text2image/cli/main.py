"""The command line's main function."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType
from typing import NoReturn, TextIO

from text2image.channel import Tls
from text2image.cli.arguments import API_KEY_VARIABLE, build_parser
from text2image.cli.generate import generate, plan_files
from text2image.cli.report import ExitCode, UsageError, complain, fail
from text2image.cli.status import show_status
from text2image.client import Text2ImageClient
from text2image.errors import Text2ImageError


class Terminated(BaseException):
    """SIGTERM arrived; raised like Ctrl-C, so that the generation is cancelled."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; usage errors make argparse exit with 2."""
    for stream in (sys.stdout, sys.stderr):
        _carry_any_text(stream)
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return ExitCode.OK
    signal.signal(signal.SIGTERM, _terminate)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        return _carry_out(args)
    except UsageError as error:
        complain(str(error))
        return ExitCode.INVALID
    except Text2ImageError as error:
        return fail(error, args.json)
    except KeyboardInterrupt:
        complain("interrupted")
        return ExitCode.INTERRUPTED
    except Terminated:
        complain("terminated")
        return ExitCode.TERMINATED
    except OSError as error:
        if not isinstance(
            error, BrokenPipeError
        ):  # the reader of stdout has left and needs no message
            complain(f"can't write to stdout: {error.strerror}")
        # Otherwise Python flushes stdout again at exit and prints an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _carry_out(args: argparse.Namespace) -> int:
    plan = plan_files(args) if args.command == "generate" else None
    with _connect(args) as client:
        if args.wait:
            client.wait_ready(args.wait)
        if plan is None:
            return show_status(args, client)
        return generate(args, client, plan)


def _connect(args: argparse.Namespace) -> Text2ImageClient:
    tls = None
    if args.tls or args.tls_ca or args.tls_cert or args.tls_key:
        tls = Tls(args.tls_ca, args.tls_cert, args.tls_key)
    try:
        return Text2ImageClient(args.address, tls=tls, api_key=os.environ.get(API_KEY_VARIABLE))
    except ValueError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"can't read {error.filename}: {error.strerror}") from None


def _carry_any_text(stream: TextIO) -> None:
    """Escape characters that the terminal's encoding lacks instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
