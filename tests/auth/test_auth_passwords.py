"""Changing a password: cut at every step, old or new works, never neither. And recovery."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.keyring.two_halves import (
    OPERATOR_KEY,
    PARTNER_KEY,
    TENANT,
    TwoHalves,
    copy_of,
    new_cell,
    opened,
    refused,
    run,
    settled,
    stamp,
)

from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_auth import Authenticate, ChangePassword, Scope, SetLoginState, SetPassword
from bulkhead.boundary.messages.to_keyring import (
    AddHalf,
    BeginRecovery,
    CreateMailboxKeys,
    DropHalves,
    GrantRecovery,
    OpenPages,
    RecoveryOffer,
    RedeemLogin,
    SetHalfState,
)
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.credential import StretchParameters
from bulkhead.records.mailbox import Holder, OrderKey, reseal_share

OLD, NEW = b"the old password", b"the new password"


def reseal(cell: TwoHalves, account: AccountId, offer: RecoveryOffer) -> tuple[bytes, bytes]:
    """What both parties answer to an offer."""
    key = OrderKey.verify(offer.order_key, cell.binding_key, TENANT, account, offer.generation, offer.order)
    return (
        reseal_share(offer.sealed_s1, Holder.PARTNER, PARTNER_KEY, key),
        reseal_share(offer.sealed_s2, Holder.OPERATOR, OPERATOR_KEY, key),
    )


async def recover(cell: TwoHalves, account: AccountId) -> bytes:
    """A token by both recovery keys."""
    offer = await cell.ask("cli", "keyring", BeginRecovery(stamp(), account))
    shares = reseal(cell, account, offer)
    return (await cell.ask("cli", "keyring", GrantRecovery(stamp(), account, offer.order, *shares))).token


def halves(cell: TwoHalves) -> tuple[list[int], list[int]]:
    """(g at auth, g at keyring)."""
    return (
        [row[0] for row in cell.database("auth").read("SELECT g FROM half")],
        [row[0] for row in cell.database("keyring").read("SELECT g FROM half ORDER BY g")],
    )


@contextmanager
def copied_at_every_commit(cell: TwoHalves, to: Path) -> Iterator[list[Path]]:
    """Copies of all files before the act and after each commit of either database, with both writers idle."""
    copies = [copy_of(cell, to / "0")]
    undo = []
    for name in ("auth", "keyring"):
        database = cell.database(name)
        for method in ("write", "mutate", "truncate_wal"):
            original = getattr(database, method)

            async def copying(*arguments: Any, _original: Any = original, **named: Any) -> Any:
                outcome = await _original(*arguments, **named)
                copies.append(copy_of(cell, to / str(len(copies))))
                return outcome

            setattr(database, method, copying)
            undo.append((database, method))
    yield copies
    for database, method in undo:
        delattr(database, method)


async def works_after(cell: TwoHalves, copy: Path, account: AccountId, *, with_keyring: bool) -> list[bytes]:
    """Which passwords work on a copy, at once and again when changes cut short have been brought to their end."""
    again = TwoHalves(copy, cell.keys, cell.settings)
    async with opened(again):
        if with_keyring:
            await settled(lambda: not again.database("auth").read("SELECT * FROM change"))
            at_auth, at_keyring = halves(again)
            assert at_auth == at_keyring
        return [password for password in (OLD, NEW) if await again.admits(account, password)]


@pytest.mark.parametrize("by_token", [True, False])
def test_killed_after_any_commit_of_a_change_the_old_or_the_new_password_works(tmp_path: Path, by_token: bool) -> None:
    async def work() -> list[tuple[list[bytes], list[bytes]]]:
        cell = new_cell(tmp_path / "cell", auth={"failure_seconds": 0.05})
        async with opened(cell):
            account = await cell.add_account(OLD)
            token = await recover(cell, account) if by_token else b""
            with copied_at_every_commit(cell, tmp_path) as copies:
                await (cell.set_password(account, NEW, token) if by_token else change(cell, account, OLD, NEW))
            assert await cell.admits(account, NEW)
            assert not await cell.admits(account, OLD)
            assert halves(cell) == ([2], [2])
        found = []
        for copy in copies:
            settled_copy = copy_of(TwoHalves(copy, cell.keys, cell.settings), Path(f"{copy}-again"))
            found.append(
                (
                    await works_after(cell, copy, account, with_keyring=False),
                    await works_after(cell, settled_copy, account, with_keyring=True),
                )
            )
        return found

    found = asyncio.run(work())
    assert len(found) >= 6
    assert all(at_once == later and at_once in ([OLD], [NEW]) for at_once, later in found), found
    assert found[0] == ([OLD], [OLD])
    assert found[-1] == ([NEW], [NEW])


async def set_when_free(cell: TwoHalves, account: AccountId, password: bytes, token: bytes) -> None:
    """Ask again while the change before, whose row is gone already, is not yet off the list of changes under way."""
    for _ in range(500):
        try:
            return await cell.set_password(account, password, token)
        except TemporaryFailure as failure:
            if failure.code != "busy":
                raise
        await asyncio.sleep(0.01)
    raise AssertionError("the change before never ended")


@pytest.mark.parametrize("cut", [AddHalf, DropHalves])
@pytest.mark.parametrize("done", [False, True])
def test_a_change_whose_answer_is_lost_is_settled_and_can_be_asked_for_again(
    tmp_path: Path, cut: type[Request[Any]], done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.auth.passwords.RETRY_SECONDS", 0.01)

    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        token = (await cell.create(account)).token
        keyring = cell.exchanges["keyring"]
        handlers = dict(keyring._handlers)
        cuts = 0

        async def lossy(state: Any, channel: Any, request: Any, body: Any) -> Any:
            nonlocal cuts
            cuts += 1
            if done or cuts > 1:
                answer = await handlers[cut](state, channel, request, body)  # type: ignore[misc]
                if cuts > 1:
                    return answer
            raise TemporaryFailure("lost")

        keyring._handlers = handlers | {cut: lossy}
        try:
            await cell.set_password(account, OLD, token)
        except TemporaryFailure:
            assert cut is AddHalf
            await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
            assert halves(cell) == ([], [])
            assert not await cell.admits(account, OLD)
            await set_when_free(cell, account, OLD, token)
        assert await cell.admits(account, OLD)
        await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        assert halves(cell) == ([1], [1])
        with refused("bad-token"):  # spent now
            await set_when_free(cell, account, NEW, token)

    run(tmp_path, work)


def test_a_token_sets_one_password_of_its_own_account(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = AccountId(new_id()), AccountId(new_id())
        token = (await cell.create(account)).token
        await cell.create(other)
        with refused("bad-token"):
            await cell.set_password(other, OLD, token)
        with refused("bad-token"):
            await cell.set_password(account, OLD, bytes(16))
        with refused("weak-password"):
            await cell.set_password(account, "七文字の言葉だ".encode(), token)
        await cell.set_password(account, OLD, token)
        with refused("bad-token"):
            await cell.set_password(account, NEW, token)
        assert await cell.admits(account, OLD)
        await settled(lambda: "PasswordSet" in cell.seen.kinds())

    run(tmp_path, work)


def test_the_same_request_makes_keys_once_and_another_is_refused(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        request = CreateMailboxKeys(stamp(), account)
        first = await cell.ask("cli", "keyring", request)
        again = await cell.ask("cli", "keyring", request)
        assert (again.token, again.binding.record) == (first.token, first.binding.record)
        with refused("exists"):
            await cell.create(account)
        await cell.restart("keyring")
        with refused("exists"):  # the token was in memory only
            await cell.ask("cli", "keyring", request)

    run(tmp_path, work)


def test_recovery_gives_a_new_password_the_same_mailbox_and_ends_old_sessions(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        before = await cell.log_in(account, OLD)
        token = await recover(cell, account)
        assert "RecoveryUsed" in cell.seen.kinds()  # before the token
        await cell.set_password(account, NEW, token)
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(before.handle, (1,)))
        after = await cell.log_in(account, NEW)
        assert after.metadata_key == before.metadata_key
        assert not await cell.admits(account, OLD)
        (record,) = [row[0] for row in cell.database("keyring").read("SELECT record FROM half")]
        for path in (cell.root / "keyring").glob("*.sqlite*"):
            assert path.read_bytes().count(record[:32]) <= 1

    run(tmp_path, work)


def test_an_account_without_password_can_be_recovered(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        await cell.create(account)
        await cell.set_password(account, NEW, await recover(cell, account))
        assert await cell.admits(account, NEW)

    run(tmp_path, work)


def test_shares_of_another_order_account_or_holder_open_nothing(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(OLD), await cell.add_account(OLD)

        async def offered(whom: AccountId) -> tuple[RecoveryOffer, tuple[bytes, bytes]]:
            offer = await cell.ask("cli", "keyring", BeginRecovery(stamp(), whom))
            return offer, reseal(cell, whom, offer)

        one, shares = await offered(account)
        for whom, order, pair in (
            (account, (await offered(account))[0].order, shares),
            (account, (await offered(account))[0].order, (await offered(other))[1]),
            (account, one.order, (shares[1], shares[0])),
            (account, one.order, shares),  # used up by the try before
            (other, (await offered(account))[0].order, shares),
            (account, bytes(16), shares),
        ):
            with refused("bad-shares"):
                await cell.ask("cli", "keyring", GrantRecovery(stamp(), whom, order, *pair))
        with refused("no-such-account"):
            await cell.ask("cli", "keyring", BeginRecovery(stamp(), AccountId(new_id())))
        assert "RecoveryUsed" not in cell.seen.kinds()

    run(tmp_path, work)


def test_no_token_is_given_before_the_ledger_has_the_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        offer = await cell.ask("cli", "keyring", BeginRecovery(stamp(), account))
        shares = reseal(cell, account, offer)
        with pytest.raises(TemporaryFailure):
            await cell.ask("cli", "keyring", GrantRecovery(stamp(), account, offer.order, *shares))
        cell.add_ledger()
        token = (await cell.ask("cli", "keyring", GrantRecovery(stamp(), account, offer.order, *shares))).token
        await cell.set_password(account, NEW, token)

    run(tmp_path, work, ledger=False)


def test_recoveries_of_a_day_are_capped_across_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.keyring.recovery.RECOVERIES_PER_DAY", 2)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        await cell.ask("cli", "keyring", BeginRecovery(stamp(), account))
        await cell.ask("cli", "keyring", BeginRecovery(stamp(), account))
        await cell.restart("keyring")
        with refused("too-many"):
            await cell.ask("cli", "keyring", BeginRecovery(stamp(), account))

    run(tmp_path, work)


def test_a_destroyed_login_is_in_no_file_and_takes_no_password(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        (record,) = cell.database("auth").first("SELECT record FROM half")
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 3))
        for path in (cell.root / "auth").glob("auth.sqlite*"):
            assert record not in path.read_bytes()
        assert not await cell.admits(account, OLD)
        with refused("bad-token"):
            await cell.set_password(account, NEW, await recover(cell, account))
        with refused("tombstone"):
            await cell.ask("cli", "auth", SetLoginState(stamp(), account, 1))

    run(tmp_path, work)


def test_a_password_set_on_a_suspended_account_does_not_open_it(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 2))
        await cell.set_password(account, NEW, await recover(cell, account))
        assert not await cell.admits(account, NEW)
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 1))
        assert await cell.admits(account, NEW)

    run(tmp_path, work)


def test_two_changes_of_one_password_at_once_do_not_mix(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        tokens = [await recover(cell, account) for _ in range(2)]
        outcomes = await asyncio.gather(
            *(cell.ask("cli", "auth", SetPassword(stamp(), account, NEW, token, 63)) for token in tokens),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, (TemporaryFailure, Refused)) for outcome in outcomes) == 1
        assert await cell.admits(account, NEW)
        assert halves(cell) == ([2], [2])

    run(tmp_path, work)


async def change(cell: TwoHalves, account: AccountId, old: bytes, new: bytes) -> None:
    await cell.ask("cli", "auth", ChangePassword(stamp(), account, old, new))


def test_the_password_that_is_set_sets_another_and_ends_its_own_sessions(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD, Scope.IMAP | Scope.SUBMIT)
        before = await cell.log_in(account, OLD)
        await change(cell, account, OLD, NEW)
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(before.handle, (1,)))
        assert (await cell.log_in(account, NEW)).metadata_key == before.metadata_key
        assert not await cell.admits(account, OLD)
        assert halves(cell) == ([2], [2])
        await cell.log_in(account, NEW, Scope.SUBMIT, "submit")
        with refused("bad-credentials"):  # the scope is what it was
            await cell.log_in(account, NEW, Scope.POP)
        with refused("weak-password"):
            await change(cell, account, NEW, b"short")

    run(tmp_path, work)


def test_a_wrong_old_password_changes_nothing_and_is_counted_by_keyring(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, suspended = await cell.add_account(OLD), await cell.add_account(OLD)
        cell.services["keyring"]._keyring.failures.limit = 3  # below what auth itself lets through
        await cell.ask("cli", "keyring", SetHalfState(stamp(), suspended, 2))
        for whom, old in ((account, NEW), (suspended, OLD), (AccountId(new_id()), OLD)):
            with refused("bad-credentials"):
                await change(cell, whom, old, NEW)
        assert await cell.admits(account, OLD)
        assert not cell.database("auth").read("SELECT * FROM change")
        for _ in range(2):
            with refused("bad-credentials"):
                await change(cell, account, NEW, NEW)
        with refused("bad-credentials"):  # the hour is used up: the right one is refused too
            await change(cell, account, OLD, NEW)
        assert halves(cell)[1] == [1, 1]

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_a_half_made_of_the_same_password_ends_no_session_and_no_login_under_way(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        rows = cell.services["auth"]._auth.rows
        rows.default = StretchParameters(16, 1, 1)
        nonce = secrets.token_bytes(16)
        await cell.ask("access", "auth", Authenticate(account, OLD, Scope.IMAP, "::1", nonce))
        await settled(lambda: halves(cell) == ([2], [2]))
        session = await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))
        await settled(lambda: not cell.services["auth"]._auth.passwords._changing)
        rows.default = StretchParameters(24, 1, 1)
        assert all(await asyncio.gather(*(cell.admits(account, OLD) for _ in range(8))))  # while it is replaced
        await settled(lambda: halves(cell) == ([3], [3]))
        await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        half = rows.find(account, 0)
        assert half is not None and half.parameters == rows.default
        assert await cell.admits(account, OLD)
        assert halves(cell) == ([3], [3])
        assert cell.seen.kinds().count("PasswordSet") == 1

    run(tmp_path, work)


def test_killed_after_any_commit_of_a_restretch_the_password_works(tmp_path: Path) -> None:
    async def work() -> list[list[bytes]]:
        cell = new_cell(tmp_path / "cell", auth={"failure_seconds": 0.05})
        async with opened(cell):
            account = await cell.add_account(OLD)
            cell.services["auth"]._auth.rows.default = StretchParameters(16, 1, 1)
            with copied_at_every_commit(cell, tmp_path) as copies:
                assert await cell.admits(account, OLD)
                await settled(lambda: halves(cell) == ([2], [2]))
                await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        return [await works_after(cell, copy, account, with_keyring=True) for copy in copies]

    found = asyncio.run(work())
    assert len(found) >= 5
    assert all(works == [OLD] for works in found)


def test_the_old_password_s_sessions_end_also_where_the_log_cannot_be_folded_in_at_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        session = await cell.log_in(account, OLD)
        database, folded = cell.database("keyring"), 0
        original = database.truncate_wal

        async def truncate_wal() -> None:  # as where a backup reads the file
            nonlocal folded
            folded += 1
            if folded == 1:
                raise TemporaryFailure("what was destroyed still lies in the write-ahead log", code="storage")
            await original()

        database.truncate_wal = truncate_wal
        await change(cell, account, OLD, NEW)
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        newer = await cell.log_in(account, NEW)
        await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        assert folded == 2
        await cell.ask("access", "keyring", OpenPages(newer.handle, (1,)))

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_a_new_password_that_will_not_do_is_no_wrong_guess_at_the_old_one(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(OLD)
        for _ in range(12):
            with refused("weak-password"):
                await change(cell, account, OLD, b"short")
        await change(cell, account, OLD, NEW)
        assert await cell.admits(account, NEW)

    run(tmp_path, work, auth={"failure_seconds": 0.02})
