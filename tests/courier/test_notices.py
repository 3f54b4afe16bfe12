"""A change of addresses reaches its owner's mailbox: directory and store for real, by the courier's own edges."""

import asyncio
import hashlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_store import CountStore, ReadQuota
from bulkhead.courier import notices
from bulkhead.courier.notices import NoticeTeller
from bulkhead.drill.bare_cell import BareCell, opened, stamp
from bulkhead.gate.delivery import Sealer


def teller_of(cell: BareCell) -> NoticeTeller:
    sealer = Sealer(cell.tenant, cell.settings["pinned"]["binding_key"])
    means: Any = SimpleNamespace(
        exchange=cell.worker("courier"), sealer=sealer, manner=SimpleNamespace(name="mx.kddi.example")
    )
    return NoticeTeller(lambda: means, lambda: 1_800_000_000.0)


def test_a_notice_is_in_the_mailbox_of_the_account_itself_whatever_it_forwards(tmp_path: Path) -> None:
    async def whole() -> None:
        async with opened(tmp_path) as cell:
            person, other = await cell.add_person("taro"), await cell.add_person("hanako")
            request = m.SetForward(stamp(), person.address, (other.address,), False)
            await cell.ask("cli", "directory", request)
            teller = teller_of(cell)
            assert await teller.tell() == 1 and await teller.tell() == 0
            assert (await cell.ask("cli", "store", CountStore())).messages == 1
            _, session = await cell.log_in("access", person)
            shown = await cell.exchanges["access"].to("store").call(ReadQuota(session.handle))
            assert shown.messages == 1

    asyncio.run(whole())


def test_a_mailbox_that_takes_no_mail_for_now_keeps_no_other_from_its_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TAKE_MAX", 2)

    async def whole() -> None:
        async with opened(tmp_path) as cell:
            stopped, other = await cell.add_person("stopped"), await cell.add_person("other")
            digest = hashlib.sha256(stopped.account).digest()
            await cell.exchanges["cli"].to("store").call(to_store.StageAccounts(stamp(), digest), stopped.account)
            epoch = time.time_ns() // 1_000_000
            await cell.ask("cli", "store", to_store.StopSurfaces(stamp(), epoch, Surface.INBOUND, digest, 0, "test"))
            for number in range(2):
                alias = f"stopped-{number}@{cell.domain}"
                await cell.ask("cli", "directory", m.AddAlias(stamp(), stopped.address, alias))
            await cell.ask("cli", "directory", m.AddAlias(stamp(), other.address, f"alias@{cell.domain}"))
            teller = teller_of(cell)
            assert [await teller.tell() for _ in range(4)] == [0, 1, 0, 0]
            (first, _) = (await cell.ask("courier", "directory", m.TakeNotices(16))).rows
            assert first.binding.account == stopped.account
            await cell.ask("cli", "store", to_store.LiftSurfaces(stamp(), epoch + 1, Surface.INBOUND, digest, "test"))
            assert [await teller.tell() for _ in range(2)] == [2, 0]

    asyncio.run(whole())
