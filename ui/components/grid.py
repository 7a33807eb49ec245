"""X/Y grids: planning, progress, results, and opening earlier ones by URL."""

from __future__ import annotations

import statistics
from datetime import datetime

import streamlit as st

from ui import form
from ui.components import html
from ui.grid import AXES, MAX_CELLS, Axis, Grid, GridError, axis, plan
from ui.imaging import sheet
from ui.job import Job, Phase
from ui.recipe import Recipe, fit
from ui.session import address, owner, shared
from ui.storage.gallery import Picture, Search

BATCH = "batch"
REFRESH_S = 1.0
ERROR = "_grid_error"
PLANNED = "_planned_grid"  # the grid whose recipe and axes the planner shows


def grid_planner() -> None:
    """Choose the axes, and start."""
    abilities = shared().monitor.abilities
    form.settle(st.session_state, abilities)
    base = form.read(st.session_state, abilities)
    st.text_area(
        "Prompt",
        key="prompt",
        height=80,
        persist_state="session",
        placeholder="What should the pictures show?",
    )
    st.caption(
        f"The rest comes from the studio: {base.size_words}, {base.steps} steps, "
        f"guidance {base.guidance:g}, {base.scheduler or 'default scheduler'}."
    )
    first, second = _axis_inputs("x", "Across", "steps"), _axis_inputs("y", "Down", "")
    _start_row(first, second, base)


def _axis_inputs(side: str, label: str, default: str) -> tuple[str, str]:
    names = list(AXES)
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"axis-{side}"):
        name = st.selectbox(
            f"{label} varies",
            names,
            index=names.index(default),
            format_func=AXES.__getitem__,
            key=f"{side}-axis",
            persist_state="session",
            width=220,
        )
        values = ""
        if name:
            values = st.text_input(
                f"{label}: values",
                key=f"{side}-values-{name}",
                placeholder=_placeholder(name),
                persist_state="session",
                help="With commas between them."
                + (" The first is replaced by each." if name == "prompt" else ""),
            )
    return name or "", values or ""


def _placeholder(name: str) -> str:
    schedulers = ", ".join(shared().monitor.abilities.schedulers[:3])
    return {
        "steps": "10, 20, 30",
        "guidance": "3, 7.5, 12",
        "seed": "1, 2, 3",
        "scheduler": schedulers,
        "prompt": "red, blue, green",
    }[name]


def _start_row(first: tuple[str, str], second: tuple[str, str], base: Recipe) -> None:
    grid = _sketch(first, second, base)
    count = grid.num_cells if grid else 0
    st.button(
        f"Make {count} pictures" if count else "Make the grid",
        key="make-grid",
        type="primary",
        icon=":material/grid_view:",
        disabled=count > MAX_CELLS,
        on_click=_start,
        args=(first, second),
    )
    if count > MAX_CELLS:
        st.caption(f"At most {MAX_CELLS} pictures at once: leave out some values.")
    elif grid:
        st.caption(_estimate(grid))
    if st.session_state.get(ERROR):
        st.error(html.plain(st.session_state[ERROR]), icon=":material/error:")


def _sketch(first: tuple[str, str], second: tuple[str, str], base: Recipe) -> Grid | None:
    """The grid as typed so far, or None if it is not valid yet."""
    try:
        x, y = axis(*first), axis(*second)
    except GridError:
        return None
    return None if x.name == y.name else Grid(base, x, y)


def _estimate(grid: Grid) -> str:
    """The expected duration, from the visitor's latest pictures of this size; "" if none."""
    size = (grid.base.width, grid.base.height)
    latest = shared().gallery.page(owner(), Search(), 1)
    per_step = [p.duration_ms / p.steps for p in latest if (p.width, p.height) == size]
    steps = sum(recipe.steps for recipe in grid.recipes())
    return f"Up to {html.seconds(statistics.median(per_step) * steps)}." if per_step else ""


def _start(first: tuple[str, str], second: tuple[str, str]) -> None:
    abilities = shared().monitor.abilities
    base = form.read(st.session_state, abilities)
    try:
        grid = plan(base, axis(*first), axis(*second), abilities)
    except GridError as error:
        st.session_state[ERROR] = str(error)
        return
    st.session_state[ERROR] = ""
    batch_id = shared().jobs.submit_batch(owner(), grid.to_dict(), grid.recipes())
    st.session_state[PLANNED] = batch_id
    st.query_params[BATCH] = batch_id


def bring_in_grid() -> None:
    """Fill the planner with the grid named in the URL, before its widgets are created."""
    batch_id = st.query_params.get(BATCH)
    if not batch_id or st.session_state.get(PLANNED) == batch_id:
        return
    st.session_state[PLANNED] = batch_id
    batch = shared().journal.batch(owner(), batch_id)
    if batch is None:
        return
    grid, abilities = Grid.from_dict(batch.plan), shared().monitor.abilities
    form.settle(st.session_state, abilities)
    form.write(st.session_state, fit(grid.base, abilities)[0], abilities)
    for side, varied in (("x", grid.x), ("y", grid.y)):
        st.session_state[f"{side}-axis"] = varied.name
        if varied.name:
            st.session_state[f"{side}-values-{varied.name}"] = ", ".join(varied.values)


def grid_result() -> None:
    """The grid named in the URL, in progress or complete."""
    batch_id = st.query_params.get(BATCH)
    if not batch_id:
        return
    batch = shared().journal.batch(owner(), batch_id)
    if batch is None:
        st.query_params.pop(BATCH, None)
        st.toast("That grid doesn't exist or isn't yours.", icon=":material/lock:")
        return
    active = _is_active(batch_id)
    grid = Grid.from_dict(batch.plan)
    st.fragment(_watch, run_every=REFRESH_S if active else None)(batch_id, grid, active)


def earlier_grids() -> None:
    """Choose an earlier grid to open."""
    batches = {batch.id: batch for batch in shared().journal.batches(owner())}
    if not batches:
        return
    with st.popover("Earlier grids", icon=":material/history:", key="earlier"):
        for batch in batches.values():
            grid = Grid.from_dict(batch.plan)
            when = datetime.fromtimestamp(batch.created_at / 1000).strftime("%d %b %H:%M")
            st.button(
                f"{when}: {_words(grid)}",
                key=f"batch-{batch.id}",
                type="tertiary",
                on_click=_reopen,
                args=(batch.id,),
            )


def _reopen(batch_id: str) -> None:
    st.query_params[BATCH] = batch_id


def _words(grid: Grid) -> str:
    axes = [AXES[a.name].lower() for a in (grid.x, grid.y) if a.name]
    return f"{grid.num_cells} by {' and '.join(axes)}"


def _is_active(batch_id: str) -> bool:
    return any(job.is_active for job in shared().jobs.of_batch(owner(), batch_id).values())


def _watch(batch_id: str, grid: Grid, polled: bool) -> None:
    active = _is_active(batch_id)
    if active != polled:
        st.rerun()  # only a full run starts or stops the timer
    jobs = shared().jobs.of_batch(owner(), batch_id)
    pictures = shared().gallery.of_batch(owner(), batch_id)
    st.html(_progress(grid, jobs, pictures) + _table(grid, jobs, pictures))
    with st.container(horizontal=True, key="grid-actions"):
        if active:
            st.button(
                "Cancel all",
                key="cancel-grid",
                icon=":material/stop_circle:",
                shortcut="Esc",
                on_click=shared().jobs.cancel_all,
                args=(owner(), batch_id),
            )
        elif pictures:
            st.download_button(
                "Download the grid",
                data=lambda: _sheet(grid, pictures),
                file_name="inkling-grid.png",
                mime="image/png",
                key="download-grid",
                on_click="ignore",
                icon=":material/download:",
            )


def _sheet(grid: Grid, pictures: dict[int, Picture]) -> bytes:
    return sheet(grid, {cell: shared().gallery.read(p) for cell, p in pictures.items()})


def _progress(grid: Grid, jobs: dict[int, Job], pictures: dict[int, Picture]) -> str:
    done = sum(
        1.0 if cell in pictures else _fraction(jobs.get(cell)) for cell in range(grid.num_cells)
    )
    percent = round(100 * done / grid.num_cells)
    return (
        '<div class="ink-bar" role="progressbar" aria-label="Progress of the grid" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<i style="width:{percent}%"></i></div><p class="ink-line">'
        f"<span>{len(pictures)} of {grid.num_cells} pictures</span></p>"
    )


def _fraction(job: Job | None) -> float:
    return job.fraction if job is not None and job.is_active else 0.0


def _table(grid: Grid, jobs: dict[int, Job], pictures: dict[int, Picture]) -> str:
    head = "".join(f'<th scope="col">{html.escape(_head(grid.x, v))}</th>' for v in grid.x.values)
    rows = []
    for row, value in enumerate(grid.y.values):
        first = row * len(grid.x.values)
        cells = "".join(
            f"<td>{_cell(pictures.get(cell), jobs.get(cell))}</td>"
            for cell in range(first, first + len(grid.x.values))
        )
        side = f'<th scope="row">{html.escape(_head(grid.y, value))}</th>' if grid.y.name else ""
        rows.append(f"<tr>{side}{cells}</tr>")
    corner = '<th scope="col"><span class="ink-quiet">Row</span></th>' if grid.y.name else ""
    return (
        '<div class="ink-scroll" tabindex="0" role="region" aria-label="The grid">'
        f'<table class="ink-sheet" style="--n:{len(grid.x.values)}">'
        f"<thead><tr>{corner}{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(side: Axis, value: str) -> str:
    return side.label(value) or "Result"


def _cell(picture: Picture | None, job: Job | None) -> str:
    if picture is not None:
        return html.picture(address(picture), picture.prompt, picture.width, picture.height)
    if job is None:
        return '<div class="ink-cell">–</div>'
    if job.phase is Phase.FAILED and job.failure is not None:
        return f'<div class="ink-cell">{html.escape(job.failure.title)}</div>'
    if job.phase is Phase.CANCELLED:
        return '<div class="ink-cell">Cancelled</div>'
    if job.preview is not None:
        source = html.data_address(job.preview)
        return f'<img class="ink-picture" src="{source}" alt="Preview" width="128" height="128">'
    return '<div class="ink-cell">Waiting</div>'
