"""Which pictures are meant, and in what order: the gallery's questions as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ui.storage.picture import Picture, fold
from ui.storage.schema import ALBUM_PICTURES, PICTURES, group_of

Columns = Any  # of PICTURES, or of an alias of it


@dataclass(frozen=True, slots=True)
class Search:
    """Which pictures, and in what order. `group`: those that one click made; `album`: its id."""

    text: str = ""
    favourites: bool = False
    oldest_first: bool = False
    group: str = ""
    album: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """Pictures that one click made: the newest lies on top, the ids are in the order of making."""

    top: Picture
    group: str
    picture_ids: tuple[str, ...]


def where(owner: str, search: Search, table: Columns = PICTURES) -> list[Any]:
    """The conditions of a search."""
    columns = table.c
    conditions: list[Any] = [columns.owner == owner, columns.deleted_at.is_(None)]
    if search.text.strip():
        wanted = fold(search.text.strip())
        conditions.append(columns.prompt_folded.contains(wanted, autoescape=True))
    if search.favourites:
        conditions.append(columns.favourite.is_(True))
    if search.group:
        conditions.append(group_of(table) == search.group)
    if search.album:
        chosen = sa.select(ALBUM_PICTURES.c.picture_id)
        conditions.append(columns.id.in_(chosen.where(ALBUM_PICTURES.c.album_id == search.album)))
    return conditions


def ordered(owner: str, search: Search) -> sa.Select[Any]:
    """All pictures that a search finds."""
    columns = (PICTURES.c.created_at, PICTURES.c.id)
    order = [c.asc() if search.oldest_first else c.desc() for c in columns]
    return sa.select(PICTURES).where(*where(owner, search)).order_by(*order)


def tops(owner: str, search: Search) -> sa.Select[Any]:
    """Of each group the newest picture that the search finds, with the group's name."""
    other = PICTURES.alias()
    newer, as_old = (
        other.c.created_at > PICTURES.c.created_at,
        other.c.created_at == PICTURES.c.created_at,
    )
    # With OR, and not as a tuple: no database may look for it in the index by time.
    is_above = sa.or_(newer, sa.and_(as_old, other.c.id > PICTURES.c.id))
    same = group_of(other) == group_of(PICTURES)
    above = sa.exists().where(*where(owner, search, other), same, is_above)
    return ordered(owner, search).add_columns(group_of(PICTURES).label("group_id")).where(~above)


def members(owner: str, search: Search, groups: list[str]) -> sa.Select[Any]:
    """Time, id and group of what the search finds of these groups, in no order."""
    columns = (PICTURES.c.created_at, PICTURES.c.id, group_of(PICTURES).label("group_id"))
    return sa.select(*columns).where(*where(owner, search), group_of(PICTURES).in_(groups))
