"""A change of addresses reaches its owner's mailbox: directory and store for real, by the courier's own edges."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.to_store import CountStore, ReadQuota
from bulkhead.courier.notices import NoticeTeller
from bulkhead.drill.bare_cell import opened, stamp
from bulkhead.gate.delivery import Sealer


def test_a_notice_is_in_the_mailbox_of_the_account_itself_whatever_it_forwards(tmp_path: Path) -> None:
    async def whole() -> None:
        async with opened(tmp_path) as cell:
            person, other = await cell.add_person("taro"), await cell.add_person("hanako")
            request = m.SetForward(stamp(), person.address, (other.address,), False)
            await cell.ask("cli", "directory", request)
            sealer = Sealer(cell.tenant, cell.settings["pinned"]["binding_key"])
            means: Any = SimpleNamespace(
                exchange=cell.worker("courier"), sealer=sealer, manner=SimpleNamespace(name="mx.kddi.example")
            )
            teller = NoticeTeller(lambda: means, lambda: 1_800_000_000.0)
            assert await teller.tell() == 1 and await teller.tell() == 0
            assert (await cell.ask("cli", "store", CountStore())).messages == 1
            _, session = await cell.log_in("access", person)
            shown = await cell.exchanges["access"].to("store").call(ReadQuota(session.handle))
            assert shown.messages == 1

    asyncio.run(whole())
