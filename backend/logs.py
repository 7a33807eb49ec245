"""Logging to stderr, one line per event, for people or as JSON; includes the libraries' logs."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

_libraries: logging.Handler | None = None


def configure(log_format: str, level: str) -> None:
    """Set up structlog and the standard library's logging."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer, exceptions = _renderer(log_format)
    stamp: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*stamp, exceptions, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*stamp, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exceptions,
            renderer,
        ],
    )
    _take_libraries(formatter, max(number, logging.WARNING))


def _renderer(log_format: str) -> tuple[Any, Any]:
    """The processors that write a line, and that format its exception."""
    if log_format == "json":
        return structlog.processors.JSONRenderer(), structlog.processors.format_exc_info
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        # The default prints all local variables: prompts, keys, whole images.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return console, structlog.processors.StackInfoRenderer()


def _take_libraries(formatter: logging.Formatter, level: int) -> None:
    """Send the libraries' logs, warnings and uncaught exceptions the same way."""
    global _libraries
    root = logging.getLogger()
    if _libraries is not None:
        root.removeHandler(_libraries)
    _libraries = logging.StreamHandler(sys.stderr)
    _libraries.setFormatter(formatter)
    _libraries.setLevel(level)
    root.addHandler(_libraries)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda args: _log_crash(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _log_crash(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), traceback)
    elif not issubclass(kind, SystemExit):
        exc_info = (kind, error, traceback)
        structlog.get_logger(__name__).critical("crashed", exc_info=exc_info)
