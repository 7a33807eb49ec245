"""What a browser that was never here fetches to show the studio."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.e2e.browsing import Visitor

MAX_BYTES = 2_500_000
# Streamlit's page names 60 files and its elements some 30 more, each by an import of its own: fewer
# would take another build of Streamlit.
MAX_REQUESTS = 105
QUIET_MS = 1500  # after the last element was drawn: pictures and fonts come late


@dataclass(frozen=True, slots=True)
class FirstVisit:
    """Requests over the network, their bytes as they travelled, and seconds until one can type."""

    requests: int
    num_bytes: int
    usable_s: float


def first_visit(visitor: Visitor) -> FirstVisit:
    """Open the studio in an empty browser context."""
    sizes: dict[str, int] = {}
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])}),
    )
    started = time.perf_counter()
    visitor.page.goto(visitor.url, wait_until="commit")
    visitor.page.get_by_label("Prompt", exact=True).fill("a")
    usable_s = time.perf_counter() - started
    visitor.settle()
    visitor.page.wait_for_timeout(QUIET_MS)
    over_the_network = [size for size in sizes.values() if size]  # others are in the page
    return FirstVisit(len(over_the_network), sum(over_the_network), usable_s)
