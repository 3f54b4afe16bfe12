"""The store as the supervisor starts it, and its page."""

import asyncio
import re
from pathlib import Path

from tests.store.world import STORE, Peer, copy_for, stamp

import bulkhead.store.process
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.terms import Channel
from bulkhead.identifiers import TenantId, new_id

PAGE = Path(__file__).parents[2] / "docs" / "store.md"


def test_a_host_starts_reloads_and_stops_it():
    async def main() -> None:
        exchange = Exchange(STORE, lambda *_: None)
        host = Host(STORE, TenantId("kddi"), {"store": {"segment_bytes": 1 << 20}}, exchange)
        service = await bulkhead.store.process.start(host)
        cli, mx = Peer(Channel("cli", 0, 1), exchange), Peer(Channel("mx", 0, 1), exchange)
        account = new_id()
        await cli.call(to_store.OpenAccount(stamp(), account, 0))
        await service.reload({"store": {"segment_bytes": 1}})
        for _ in range(2):
            copy = copy_for(account)
            await mx.call(to_store.DeliverMail(stamp(), (copy,)), bytes(300))
        assert len(list(Path("segments").iterdir())) == 2
        exchange.close()
        await service.stop()
        assert not Path("store.sqlite-wal").exists()

    asyncio.run(main())


def test_every_refusal_is_on_the_page():
    sources = "".join(path.read_text() for path in Path(bulkhead.store.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'code="([a-z-]+)"', sources)) | set(re.findall(r'"(too-many-[a-z]+)"', sources))
    page = PAGE.read_text()
    assert {code for code in codes if f"`{code}`" not in page} == set()


def test_every_module_is_on_the_page_or_a_handler():
    modules = {path.name for path in Path(bulkhead.store.__file__).parent.glob("*.py")} - {"__init__.py"}
    page = PAGE.read_text()
    assert {name for name in modules if not name.startswith("handle_") and f"`{name}`" not in page} == set()
