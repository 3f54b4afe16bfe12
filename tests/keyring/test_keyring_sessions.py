"""Sessions: bound to channel, account and scope; told to store first; ended everywhere at once."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from tests.keyring.two_halves import TENANT, TwoHalves, new_cell, opened, refused, run, settled, stamp

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_keyring
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_keyring import (
    ArrivedKey,
    CountKeyring,
    EndSession,
    LiftSessionStop,
    OpenArrived,
    OpenPages,
    OpenQueued,
    OpenSlots,
    RedeemLogin,
    SetHalfState,
    SlottedKey,
    StopTenantSessions,
)
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import EmailId, QueueId, new_id
from bulkhead.keyring.handle import HANDLERS
from bulkhead.records.mailbox import QUEUE_ACCOUNT, Binding, VerifiedBinding
from bulkhead.records.message import seal_key_box
from bulkhead.records.queued import seal_queue_key_box

PASSWORD = b"correct horse battery"


def test_every_message_to_keyring_has_a_handler() -> None:
    requests = {
        value
        for value in vars(to_keyring).values()
        if isinstance(value, type) and issubclass(value, Request) and value.__module__.startswith(to_keyring.__name__)
    }
    assert set(HANDLERS) == requests


def test_a_right_login_gets_a_handle_and_store_has_its_grant_before(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        session = await cell.log_in(account, PASSWORD)
        (grant,) = cell.seen.grants[-1].grants
        access = cell.exchanges["access"].me
        assert (grant.handle, grant.account, grant.compartment) == (session.handle, account, "access")
        assert (grant.worker, grant.incarnation) == (access.worker, access.incarnation)
        assert session.metadata_key != bytes(32)
        assert session.binding is not None
        bound = Binding(session.binding.record).verify(cell.binding_key, TENANT, account)
        assert bound.generation == 1

    run(tmp_path, work)


def test_a_submit_login_gets_no_key_and_store_hears_nothing_of_it(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        told = len(cell.seen.grants)
        session = await cell.log_in(account, PASSWORD, Scope.SUBMIT, "submit")
        assert session.metadata_key == bytes(32)
        assert len(cell.seen.grants) == told
        only_submit = await cell.add_account(PASSWORD, Scope.SUBMIT)
        await cell.log_in(only_submit, PASSWORD, Scope.SUBMIT, "submit")
        assert not await cell.admits(only_submit, PASSWORD)

    run(tmp_path, work)


def test_a_nonce_is_redeemed_once_and_only_for_its_account_scope_and_kind_of_gate(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)

        async def checked(scope: int = Scope.IMAP, gate: str = "access") -> bytes:
            nonce = secrets.token_bytes(16)
            await cell.ask(gate, "auth", Authenticate(account, PASSWORD, scope, "::1", nonce))
            return nonce

        nonce = await checked()
        await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))
        for gate, used, whom, scope in (
            ("access", nonce, account, Scope.IMAP),  # again
            ("access", await checked(), other, Scope.IMAP),
            ("access", await checked(), account, Scope.POP),
            ("submit", await checked(), account, Scope.IMAP),
            ("access", await checked(Scope.SUBMIT, "submit"), account, Scope.SUBMIT),
            ("access", secrets.token_bytes(16), account, Scope.IMAP),
        ):
            with refused("bad-credentials"):
                await cell.ask(gate, "keyring", RedeemLogin(used, whom, scope))

    run(tmp_path, work)


def test_a_login_that_auth_asks_for_twice_is_still_redeemed_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        nonce = secrets.token_bytes(16)
        for _ in range(2):  # a gate asks again where auth restarted under it
            await cell.ask("access", "auth", Authenticate(account, PASSWORD, Scope.IMAP, "::1", nonce))
        with refused("bad-credentials"):  # but no other login takes its place
            await cell.ask("access", "auth", Authenticate(other, PASSWORD, Scope.IMAP, "::1", nonce))
        await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))
        with refused("bad-credentials"):
            await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))

    run(tmp_path, work)


def test_a_checked_login_is_forgotten_when_nobody_redeems_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.keyring.logins.NONCE_SECONDS", 0.05)

    async def work(cell: TwoHalves) -> None:
        account, nonce = await cell.add_account(PASSWORD), secrets.token_bytes(16)
        await cell.ask("access", "auth", Authenticate(account, PASSWORD, Scope.IMAP, "::1", nonce))
        await asyncio.sleep(0.1)
        assert not cell.services["keyring"]._keyring.logins._checked
        with refused("bad-credentials"):
            await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))

    run(tmp_path, work)


def test_a_handle_serves_only_the_channel_it_was_given_to(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        session = await cell.log_in(await cell.add_account(PASSWORD), PASSWORD)
        await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        with refused("no-session"):
            await cell.ask("access/1", "keyring", OpenPages(session.handle, (1,)))
        await cell.ask("access/1", "keyring", EndSession(session.handle))  # no error, no effect
        await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        await cell.ask("access", "keyring", EndSession(session.handle))
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        await settled(lambda: any(session.handle in revoke.handles for revoke in cell.seen.revokes))

    run(tmp_path, work)


def test_message_keys_open_for_their_account_alone_and_are_counted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        session, stranger = await cell.log_in(account, PASSWORD), await cell.log_in(other, PASSWORD)
        assert session.binding is not None
        binding = Binding(session.binding.record).verify(cell.binding_key, TENANT, account)
        emails = [EmailId(new_id()) for _ in range(256)]
        keys = [secrets.token_bytes(32) for _ in emails]
        boxes = tuple(
            ArrivedKey(email, seal_key_box(binding, email, key)) for email, key in zip(emails, keys, strict=True)
        )
        opened_keys = (await cell.ask("access", "keyring", OpenArrived(session.handle, boxes))).keys
        assert [item.key for item in opened_keys if item] == keys
        slots = tuple(SlottedKey(e, item.slot) for e, item in zip(emails, opened_keys, strict=True) if item)
        assert (await cell.ask("access", "keyring", OpenSlots(session.handle, slots))).keys == tuple(keys)
        nothing = await cell.ask("access", "keyring", OpenArrived(stranger.handle, boxes[:3]))
        assert nothing.keys == (None, None, None)
        assert (await cell.ask("access", "keyring", OpenSlots(stranger.handle, slots[:2]))).keys == (None, None)
        moved = ArrivedKey(emails[0], boxes[1].box)
        assert (await cell.ask("access", "keyring", OpenArrived(session.handle, (moved,)))).keys == (None,)
        pages = await cell.ask("access", "keyring", OpenPages(session.handle, tuple(range(1024))))
        assert len(set(pages.keys)) == 1024
        counts = await cell.ask("cli", "keyring", CountKeyring())
        assert (counts.messages_opened, counts.pages_opened, counts.sessions) == (512, 1024, 2)
        await cell.services["keyring"].note_openings()
        await settled(lambda: "KeyOpeningsCounted" in cell.seen.kinds())
        assert cell.seen.events[-1].details == {
            "messages": 512, "pages": 1024, "queued": 0, "failed": 6, "old_boxes": 0, "old_pages": 0,
        }  # fmt: skip

    run(tmp_path, work)


def test_a_full_opening_holds_the_loop_less_than_20_ms_at_a_time(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> float:
        account = await cell.add_account(PASSWORD)
        session = await cell.log_in(account, PASSWORD)
        assert session.binding is not None
        binding = Binding(session.binding.record).verify(cell.binding_key, TENANT, account)
        emails = [EmailId(new_id()) for _ in range(256)]
        items = tuple(ArrivedKey(email, seal_key_box(binding, email, bytes(32))) for email in emails)
        keyring = cell.services["keyring"]._keyring
        live = keyring.sessions.find(session.handle, cell.exchanges["access"].me)
        task = asyncio.create_task(keyring.openings.arrived(live, items))
        longest, last = 0.0, time.thread_time()
        while not task.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        return longest

    assert min(run(tmp_path / str(turn), work) for turn in range(3)) < 0.020


def test_a_queued_message_opens_for_courier_and_is_counted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        public = X25519PublicKey.from_public_bytes(cell.keys.queue_key)
        queue_id, key = QueueId(new_id()), secrets.token_bytes(32)
        box = seal_queue_key_box(VerifiedBinding(TENANT, QUEUE_ACCOUNT, 1, public), queue_id, key)
        assert (await cell.ask("courier", "keyring", OpenQueued(queue_id, box))).key == key
        assert (await cell.ask("cli", "keyring", CountKeyring())).queued_opened == 1

    run(tmp_path, work)


def test_a_store_that_restarts_is_told_the_live_grants_before_anything_else(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        live = {(await cell.log_in(account, PASSWORD)).handle for _ in range(3)}
        over = await cell.log_in(account, PASSWORD)
        await cell.ask("access", "keyring", EndSession(over.handle))
        await settled(lambda: cell.seen.revokes)
        cell.exchanges["store"].close()
        login = asyncio.create_task(cell.log_in(account, PASSWORD))
        await asyncio.sleep(0.05)
        cell.seen.grants.clear()
        cell.start_store()
        cell.connect("keyring", "store")
        fresh = (await login).handle
        first = cell.seen.grants[0]
        assert first.complete
        assert {grant.handle for grant in first.grants} | {fresh} == live | {fresh}
        assert fresh in {grant.handle for request in cell.seen.grants for grant in request.grants}

    run(tmp_path, work)


def test_more_grants_than_one_message_holds_go_in_batches_the_last_complete(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.log_in(account, PASSWORD)
        keyring = cell.services["keyring"]._keyring
        (session,) = keyring.sessions.all()
        checked = type("Checked", (), {"account": account, "scope": 1, "seed": session.seed, "cred": 0})
        for _ in range(2500):
            keyring.sessions.begin(session.channel, checked, 60)
        cell.exchanges["store"].close()
        cell.seen.grants.clear()
        cell.start_store()
        cell.connect("keyring", "store")
        await settled(lambda: len(cell.seen.grants) == 3)
        assert [(len(request.grants), request.complete) for request in cell.seen.grants] == [
            (1000, False),
            (1000, False),
            (501, True),
        ]

    run(tmp_path, work)


def test_a_keyring_that_restarts_has_no_session_and_says_so_to_store(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        session = await cell.log_in(await cell.add_account(PASSWORD), PASSWORD)
        cell.seen.grants.clear()
        await cell.restart("keyring")
        cell.connect("keyring", "store")
        await settled(lambda: cell.seen.grants)
        assert (cell.seen.grants[0].grants, cell.seen.grants[0].complete) == ((), True)
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))

    run(tmp_path, work)


def test_sessions_die_with_their_gate_and_not_with_another(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        gone, stays = await cell.log_in(account, PASSWORD), await cell.log_in(account, PASSWORD, gate="access/1")
        cell.exchanges["access"].close()
        await settled(lambda: cell.seen.revokes)
        assert cell.seen.revokes[-1].handles == (gone.handle,)
        await cell.ask("access/1", "keyring", OpenPages(stays.handle, (1,)))

    run(tmp_path, work)


def test_a_stop_takes_effect_with_the_ledger_away_and_reaches_it_later(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        session = await cell.log_in(account, PASSWORD)
        stop = StopTenantSessions(stamp(), 1, True, True, "breach of access, asked by ops@stnet.example")
        assert (await cell.ask("cli", "keyring", stop)).sessions == 1
        assert cell.seen.revokes[-1].everything
        assert cell.seen.revokes[-1].epoch == 1
        await settled(lambda: cell.seen.ended)
        assert cell.seen.ended[0][1].handle == session.handle
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        assert not await cell.admits(account, PASSWORD)
        assert (await cell.ask("cli", "keyring", stop)).sessions == 1  # a retry is answered, not repeated
        with refused("old-epoch"):
            await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 1, True, True, "again"))
        await cell.restart("keyring")
        cell.connect("keyring", "store")
        assert not await cell.admits(account, PASSWORD)
        counts = await cell.ask("cli", "keyring", CountKeyring())
        assert (counts.stopped, counts.epoch) == (True, 1)
        assert cell.seen.events == []
        cell.add_ledger()
        await settled(lambda: "StopSessions" in cell.seen.kinds())
        event = next(event for event in cell.seen.events if event.kind == "StopSessions")
        assert "@" not in str(event.details["reason"])
        await cell.ask("cli", "keyring", LiftSessionStop(stamp(), 2, "over"))
        assert "StopLifted" in cell.seen.kinds()
        assert await cell.admits(account, PASSWORD)

    run(tmp_path, work, ledger=False)


def test_a_stop_is_not_lifted_without_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 1, True, True, "stop"))
        with pytest.raises(TemporaryFailure):
            await cell.ask("cli", "keyring", LiftSessionStop(stamp(), 2, "over"))
        assert not await cell.admits(account, PASSWORD)

    run(tmp_path, work, ledger=False)


def test_a_suspended_account_loses_its_sessions_and_a_destroyed_one_never_comes_back(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        session = await cell.log_in(account, PASSWORD)
        assert (await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 2))).sessions == 1
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        assert not await cell.admits(account, PASSWORD)
        await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 1))
        assert await cell.admits(account, PASSWORD)
        database = cell.database("keyring")
        (record,) = database.first("SELECT record FROM half")
        (mailbox,) = database.first("SELECT record FROM mailbox")
        await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 3))
        assert not await cell.admits(account, PASSWORD)
        with refused("tombstone"):
            await cell.create(account)
        with refused("tombstone"):
            await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 1))
        for path in (cell.root / "keyring").glob("keyring.sqlite*"):
            data = path.read_bytes()
            assert record not in data
            assert mailbox not in data
        counts = await cell.ask("cli", "keyring", CountKeyring())
        assert (counts.credentials, counts.mailboxes, counts.tombstones) == (0, 0, 1)

    run(tmp_path, work)


def test_a_session_that_expires_opens_nothing_more(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        session = await cell.log_in(await cell.add_account(PASSWORD), PASSWORD)
        keyring = cell.services["keyring"]._keyring
        keyring.sessions.all()[0].expires = 1
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        assert keyring.sessions.end_expired() == 1
        await settled(lambda: cell.seen.ended)
        assert cell.seen.ended[0][1].reason == "expired"

    run(tmp_path, work)


def test_a_login_with_store_away_is_a_temporary_failure_and_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.keyring.grants.GRANT_SECONDS", 0.1)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        cell.exchanges["store"].close()
        with pytest.raises(TemporaryFailure):
            await cell.log_in(account, PASSWORD)
        assert (await cell.ask("cli", "keyring", CountKeyring())).sessions == 0

    run(tmp_path, work)


def test_on_arrival_tells_of_edges_that_are_there_and_that_come(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(new_cell(tmp_path)) as cell:
            keyring: Exchange = cell.exchanges["keyring"]
            came: list[Channel] = []
            keyring.on_arrival("store", came.append)
            assert came == [cell.exchanges["store"].me]
            cell.exchanges["store"].close()
            cell.start_store()
            cell.connect("keyring", "store")
            assert came[-1] == cell.exchanges["store"].me

    asyncio.run(work())
