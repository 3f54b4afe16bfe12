"""What an access worker does with ends of sessions, whenever they come."""

import asyncio
from types import SimpleNamespace
from typing import Any

from bulkhead.access.worker import EARLY_MAX, Settings, Worker
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Load
from bulkhead.gate.delivery import Sealer
from bulkhead.gate.serve import Crowd, Limits

SETTINGS = Settings(1.0, 1.0, 1.0, 1, 1)


class Session:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def end(self, reason: str) -> None:
        self.ends.append(reason)

    def changed(self) -> None:
        raise AssertionError("nothing changed")


def worker() -> Worker:
    exchange = Exchange(Channel("access", 0, 1), lambda *_: None)
    return Worker(exchange, Sealer.__new__(Sealer), SETTINGS, Crowd(Limits(1, 1, 1.0)))


def account(handle: bytes) -> Any:
    return SimpleNamespace(handle=handle, id=b"a" * 16)


def test_a_session_that_was_ended_before_it_began_ends_when_it_begins() -> None:
    async def main() -> None:
        here, session, other = worker(), Session(), Session()
        here.ended(b"h" * 16, "stopped")
        here.enter(account(b"h" * 16), session)
        here.enter(account(b"o" * 16), other)
        await asyncio.sleep(0)
        assert (session.ends, other.ends) == (["stopped"], [])
        here.leave(account(b"h" * 16))
        here.enter(account(b"h" * 16), again := Session())
        await asyncio.sleep(0)
        assert again.ends == []

    asyncio.run(main())


def test_a_worker_with_its_number_of_sessions_is_full_until_one_leaves() -> None:
    async def main() -> None:
        told: list[Load] = []
        crowd = Crowd(Limits(9, 9, 1.0, sessions=2), told.append)
        here = Worker(Exchange(Channel("access", 0, 1), lambda *_: None), Sealer.__new__(Sealer), SETTINGS, crowd)
        for letter in b"ab":
            here.enter(account(bytes([letter]) * 16), Session())
        assert crowd.full and told[-1] == Load(0, 2, 2, full=True)
        here.leave(account(b"a" * 16))
        here.leave(account(b"a" * 16))
        assert not crowd.full and told[-1] == Load(0, 1, 2, full=False)

    asyncio.run(main())


def test_ends_of_sessions_that_never_begin_are_forgotten() -> None:
    async def main() -> None:
        here = worker()
        for number in range(EARLY_MAX + 1):
            here.ended(number.to_bytes(16, "big"), "stopped")
        here.enter(account(bytes(16)), first := Session())
        here.enter(account((1).to_bytes(16, "big")), second := Session())
        await asyncio.sleep(0)
        assert (first.ends, second.ends) == ([], ["stopped"])

    asyncio.run(main())
