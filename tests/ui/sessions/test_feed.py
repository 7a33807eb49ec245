"""Who is told of what, and when."""

import asyncio
from contextlib import ExitStack

from ui.sessions.feed import LINES_PER_BEAT, Feed


def test_a_full_room_is_told_of_the_queue_in_turn_and_the_wall_each_time() -> None:
    async def visit() -> None:
        feed = Feed()
        with ExitStack() as pages:
            wall = pages.enter_context(feed.listening("s", None))
            stranger = pages.enter_context(feed.listening("s", ""))
            number = 2 * LINES_PER_BEAT + 7
            guests = [pages.enter_context(feed.listening("s", f"g{n}")) for n in range(number)]
            for listener in (wall, stranger, *guests):
                listener.take()
            told = [0] * number
            for beat in range(3):
                feed.moved_everywhere()
                feed.beat()
                assert wall.take()[1]
                lines = [listener.take()[1] for listener in guests]
                assert sum(lines) == LINES_PER_BEAT
                told = [before + line for before, line in zip(told, lines, strict=True)]
                assert beat < 2 or min(told) == 1
            assert not stranger.take()[1]
        assert feed.total() == 0
        feed.beat()

    asyncio.run(visit())
