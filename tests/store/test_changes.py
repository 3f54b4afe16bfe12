"""Watchers alone: coalescing, and facts that could not be sent."""

import asyncio

from bulkhead.boundary.edge import Channel
from bulkhead.store.changes import Watchers

ACCESS = Channel("access", 0, 1)


def test_a_fact_that_could_not_be_sent_is_sent_later():
    async def main() -> None:
        sent, open_ = [], False

        def tell(channel, fact) -> bool:
            if open_:
                sent.append((channel, fact.handle))
            return open_

        watchers = Watchers(tell, asyncio.get_running_loop())
        watchers.watch(b"h" * 16, ACCESS, 5)
        watchers.changed(5)
        await asyncio.sleep(0.07)
        assert sent == []
        open_ = True
        await asyncio.sleep(0.07)
        assert sent == [(ACCESS, b"h" * 16)]
        await asyncio.sleep(0.07)
        watchers.changed(6)
        assert len(sent) == 1
        watchers.changed(5)
        assert len(sent) == 2
        watchers.changed(5)
        watchers.unwatch(b"h" * 16)
        await asyncio.sleep(0.07)
        assert len(sent) == 2

    asyncio.run(main())
