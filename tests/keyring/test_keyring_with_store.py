"""keyring's grants against the real store: what is granted is served to its channel, and nothing else ever."""

from pathlib import Path

import pytest
from tests.keyring.two_halves import TENANT, TwoHalves, refused, run, settled, stamp

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.to_keyring import CountKeyring, EndSession, LiftSessionStop, StopTenantSessions
from bulkhead.boundary.messages.to_store import ListMailboxes, OpenAccount
from bulkhead.errors import Error
from bulkhead.identifiers import AccountId
from bulkhead.store import process as store_process

PASSWORD = b"correct horse battery"


async def start_store(cell: TwoHalves) -> None:
    """The real store of the working directory, in place of the recording one."""
    cell.exchanges["store"].close()
    exchange = cell.exchanges["store"] = cell.exchange("store")
    host = Host(exchange.me, TENANT, {"store": {"segment_bytes": 1 << 20}}, exchange)
    cell.services["store"] = await store_process.start(host)
    for label in ("keyring", "access", "access/1", "cli"):
        cell.connect(label, "store")


async def account_with_inbox(cell: TwoHalves) -> AccountId:
    account = await cell.add_account(PASSWORD)
    await cell.ask("cli", "store", OpenAccount(stamp(), account, 0))
    return account


async def serves(cell: TwoHalves, gate: str, handle: bytes) -> bool:
    try:
        await cell.ask(gate, "store", ListMailboxes(handle))
    except Error as error:
        assert error.code == "no-session"
        return False
    return True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path / "store")
    return tmp_path


def test_store_serves_a_session_from_its_login_to_its_end_on_its_channel(root: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await start_store(cell)
        account = await account_with_inbox(cell)
        session = await cell.log_in(account, PASSWORD)
        assert await serves(cell, "access", session.handle)
        assert not await serves(cell, "access/1", session.handle)
        await cell.ask("access", "keyring", EndSession(session.handle))
        await settled(lambda: not len(cell.services["store"].state.grants))
        assert not await serves(cell, "access", session.handle)

    run(root, work)


def test_store_serves_live_sessions_again_after_its_restart(root: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await start_store(cell)
        session = await cell.log_in(await account_with_inbox(cell), PASSWORD)
        await cell.services["store"].stop()
        await start_store(cell)
        assert await serves(cell, "access", session.handle)

    run(root, work)


def test_store_forgets_the_sessions_of_a_keyring_that_restarted(root: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await start_store(cell)
        session = await cell.log_in(await account_with_inbox(cell), PASSWORD)
        await cell.restart("keyring")
        assert not await serves(cell, "access", session.handle)

    run(root, work)


def test_a_stop_of_logins_alone_leaves_sessions_and_its_lifting_too(root: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await start_store(cell)
        account = await account_with_inbox(cell)
        session = await cell.log_in(account, PASSWORD)
        await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 1, False, True, "look first"))
        assert not await cell.admits(account, PASSWORD)
        await cell.ask("cli", "keyring", LiftSessionStop(stamp(), 2, "false alarm"))
        assert await cell.admits(account, PASSWORD)
        assert await serves(cell, "access", session.handle)
        await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 3, True, False, "all out"))
        assert not await serves(cell, "access", session.handle)
        again = await cell.log_in(account, PASSWORD)
        assert await serves(cell, "access", again.handle)
        with refused("old-epoch"):
            await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 3, True, False, "again"))
        assert (await cell.ask("cli", "keyring", CountKeyring())).sessions == 1

    run(root, work)
