"""`python -m ui.storage`: back up, restore, verify and repair the gallery, or move its database."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ui.settings import Settings, SettingsError, database_url, load_settings
from ui.storage.archive import back_up, restore
from ui.storage.lock import held
from ui.storage.reimport import reimport
from ui.storage.tables import StorageError, open_database, read_rows, write_rows
from ui.storage.verify import verify

Command = Callable[[Settings, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 success, 1 problems found, 2 nothing done."""
    logging.basicConfig(format="%(message)s")
    chosen = _parser().parse_args(arguments)
    run: Command = chosen.run
    try:
        return run(load_settings(), chosen)
    except (StorageError, SettingsError, OSError) as error:
        print(f"Not done: {error}", file=sys.stderr)
    except SQLAlchemyError as error:
        print(f"Not done, the database: {str(error).splitlines()[0]}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ui.storage", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    made = commands.add_parser("backup", help="write pictures, rows and secret to one new tar file")
    made.add_argument("file", type=Path)
    made.set_defaults(run=_back_up)
    made = commands.add_parser("restore", help="bring a backup into an empty installation")
    made.add_argument("file", type=Path)
    made.set_defaults(run=_restore)
    made = commands.add_parser("verify", help="compare files with rows, both ways")
    made.set_defaults(run=_verify)
    made = commands.add_parser("reimport", help="make rows for pictures that have none")
    made.add_argument("--owner", help="whose the pictures are that do not tell it themselves")
    made.set_defaults(run=_reimport)
    made = commands.add_parser("move", help="copy all rows into another, empty database")
    made.add_argument("url", help="for example postgresql://user:password@host/name")
    made.set_defaults(run=_move)
    return parser


def _back_up(settings: Settings, chosen: argparse.Namespace) -> int:
    engine = open_database(settings.database_url, make=False)
    count, problems = back_up(engine, settings.data_dir, chosen.file)
    return _tell(f"{count:,} pictures are in {chosen.file}", problems)


def _restore(settings: Settings, chosen: argparse.Namespace) -> int:
    with held(settings.data_dir):
        engine = open_database(settings.database_url, make=True)
        count, problems = restore(engine, settings.data_dir, chosen.file)
    return _tell(f"{count:,} pictures are back in {settings.data_dir}", problems)


def _verify(settings: Settings, _chosen: argparse.Namespace) -> int:
    engine = open_database(settings.database_url, make=False)
    count, problems = verify(engine, settings.data_dir)
    return _tell(f"{count:,} pictures looked at, {len(problems):,} problems", problems)


def _reimport(settings: Settings, chosen: argparse.Namespace) -> int:
    with held(settings.data_dir):
        engine = open_database(settings.database_url, make=True)
        done = reimport(engine, settings.data_dir, chosen.owner)
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.items()))
    return _tell(f"Rows made: {told or 'none, every picture has its row'}", [])


def _move(settings: Settings, chosen: argparse.Namespace) -> int:
    with held(settings.data_dir):
        source = open_database(settings.database_url, make=False)
        target = open_database(database_url(chosen.url), make=True)
        rows = read_rows(source)
        write_rows(target, rows)
        if read_rows(target) != rows:
            raise StorageError("the copy differs from its source: keep using the old database")
    told = f"{len(rows['pictures']):,} pictures' rows are copied, the old database is as it was"
    return _tell(f"{told}. Start the studio with TEXT2IMAGE_DATABASE_URL set to the new one.", [])


def _tell(summary: str, problems: Sequence[str]) -> int:
    for problem in problems:
        print(problem)
    print(summary)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
