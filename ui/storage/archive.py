"""Backups: one tar file with pictures, rows and secret, independent of the database."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from ui.storage.files import DELETED_SUFFIX, NOTE_SUFFIX, THUMBNAIL_SUFFIX
from ui.storage.quarantine import Quarantine
from ui.storage.schema import METADATA
from ui.storage.tables import (
    Rows,
    StorageError,
    check_empty,
    from_lines,
    read_rows,
    to_lines,
    write_rows,
)
from ui.storage.whole import DRAFT_PREFIX, sync_folder, write_whole

FORMAT = "inkling-backup"
VERSION = 1
PICTURE_NAME = re.compile(r"pictures/\w{2}/\w{2,64}(\.\w{1,8}){1,3}", re.ASCII)
# Backups of 0.1 lack them.
LATER_TABLES = {"sessions", "guests", "guest_pictures", "albums", "album_pictures"}
ASIDE = ".restore-"


def back_up(engine: Engine, data_dir: Path, target: Path) -> tuple[int, list[str]]:
    """Write everything to a new tar file; the studio may be running.

    Returns:
        How many pictures, and a line for each that is damaged or missing.

    Raises:
        StorageError: the target exists.
        OSError: it can't be written.
    """
    if target.exists():
        raise StorageError(f"{target} exists: choose another name")
    rows = read_rows(engine)  # before the files: pictures added meanwhile have notes
    part = target.with_name(f"{DRAFT_PREFIX}{os.getpid()}-{target.name}")
    try:
        with part.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                sums = _add_files(tar, data_dir)
                kept, problems = _check(rows, sums)
                _add_tables(tar, kept)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)
    return len(kept["pictures"]), problems


def restore(engine: Engine, data_dir: Path, source: Path) -> tuple[int, list[str]]:
    """Restore a backup to an empty database and a folder without pictures.

    Returns:
        How many pictures, and a line for each that is damaged or missing.

    Raises:
        StorageError: it is not a backup, or database or folder are not empty.
        OSError: it can't be read or written.
    """
    pictures = data_dir / "pictures"
    if pictures.is_dir() and any(path.is_file() for path in pictures.rglob("*")):
        raise StorageError(f"{pictures} holds files already: restore wants an empty data folder")
    check_empty(engine)
    for leftover in data_dir.glob(f"{ASIDE}*"):  # of an earlier attempt that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=data_dir))
    try:
        try:
            with tarfile.open(source) as tar:
                sums = _extract(tar, aside)
        except (tarfile.TarError, EOFError) as error:
            raise StorageError(f"{source} is no whole backup: {error}") from error
        rows = _read_tables(aside)
        (aside / "pictures").mkdir(exist_ok=True)
        kept, problems = _check(rows, sums)
        _place(aside / "pictures", pictures, engine, kept)
        _place_secret(aside / "secret", data_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(data_dir)
    return len(kept["pictures"]), problems


def _place(source: Path, target: Path, engine: Engine, rows: Rows) -> None:
    """Place files before rows: if interrupted, they have notes. Undone if the rows fail."""
    shutil.rmtree(target, ignore_errors=True)  # empty folders
    source.rename(target)
    try:
        write_rows(engine, rows)
    except BaseException:
        target.rename(source)
        raise


def _add_files(tar: tarfile.TarFile, data_dir: Path) -> dict[str, str]:
    """Add pictures and secret; returns the SHA-256 of each file by name."""
    sums = {}
    paths = sorted(path for path in (data_dir / "pictures").glob("??/*") if path.is_file())
    for path in (*paths, data_dir / "secret"):
        name = path.relative_to(data_dir).as_posix()
        if not PICTURE_NAME.fullmatch(name) and name != "secret":
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # its owner has just deleted it
            continue
        _add(tar, name, data, round(path.stat().st_mtime))
        sums[name] = hashlib.sha256(data).hexdigest()
    return sums


def _add_tables(tar: tarfile.TarFile, rows: Rows) -> None:
    now = round(datetime.now(UTC).timestamp())
    for table, found in rows.items():
        _add(tar, f"tables/{table}.jsonl", to_lines(found), now)
    about = {"format": FORMAT, "version": VERSION, "made_at": datetime.now(UTC).isoformat()}
    _add(
        tar, "backup.json", json.dumps(about).encode(), now
    )  # last, as a mark that the file is complete


def _add(tar: tarfile.TarFile, name: str, data: bytes, changed_at: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), changed_at, 0o600
    tar.addfile(member, io.BytesIO(data))


def _check(rows: Rows, sums: dict[str, str]) -> tuple[Rows, list[str]]:
    """The rows without those of missing pictures, and a list of all problems."""
    kept, problems = [], []
    originals = _originals(sums)
    for row in rows["pictures"]:
        found = originals.get(row["id"])
        if found is None and row["deleted_at"] is not None:
            continue
        if found is None:
            problems.append(f"{row['id']}: has lost its file")
        elif found != row["sha256"]:
            problems.append(f"{row['id']}: its file is not what was kept")
        kept.append(row)
    return rows | {"pictures": kept}, problems


def _originals(sums: dict[str, str]) -> dict[str, str]:
    """SHA-256 by picture id."""
    found = {}
    for name, digest in sums.items():
        file = name.rpartition("/")[2].removesuffix(DELETED_SUFFIX)
        if name != "secret" and not file.endswith((NOTE_SUFFIX, THUMBNAIL_SUFFIX)):
            found[file.partition(".")[0]] = digest
    return found


def _extract(tar: tarfile.TarFile, folder: Path) -> dict[str, str]:
    """Extract only the files that belong to a backup; returns SHA-256 by name."""
    sums = {}
    for member in tar:
        is_table = member.name in {f"tables/{table}.jsonl" for table in METADATA.tables}
        if not member.isfile() or not (
            is_table
            or member.name in ("secret", "backup.json")
            or PICTURE_NAME.fullmatch(member.name)
        ):
            raise StorageError(f"this is no backup: {member.name!r} does not belong into one")
        data = _content(tar, member)
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, mode=0o600 if member.name == "secret" else 0o666)
        os.utime(path, (member.mtime, member.mtime))
        sums[member.name] = hashlib.sha256(data).hexdigest()
    if "backup.json" not in sums:
        raise StorageError("this backup ends too early, or is none")
    about = json.loads((folder / "backup.json").read_bytes())
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise StorageError("this backup is of another version of the studio")
    return sums


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: Any = tar.extractfile(member)
    data: bytes = file.read()
    if len(data) != member.size:
        raise StorageError("this backup ends too early")
    return data


def _read_tables(folder: Path) -> Rows:
    rows: Rows = {}
    for table in METADATA.tables:
        path = folder / "tables" / f"{table}.jsonl"
        if not path.is_file() and table not in LATER_TABLES:
            raise StorageError(f"this backup lacks the table {table}")
        rows[table] = from_lines(table, path.read_bytes()) if path.is_file() else []
    return rows


def _place_secret(source: Path, data_dir: Path) -> None:
    """Use the backup's secret, so that visitors find their galleries; keep the old one aside."""
    if not source.is_file():
        return
    target = data_dir / "secret"
    if target.is_file() and target.read_bytes() != source.read_bytes():
        Quarantine(data_dir).take([target], "replaced by the secret of a backup")
    source.replace(target)
