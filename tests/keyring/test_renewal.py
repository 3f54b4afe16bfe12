"""Mailbox keys are renewed at a login: what it seals is shut to whoever had the old one, and nothing is lost."""

import asyncio
import secrets
from pathlib import Path

import pytest
from tests.auth.test_app_passwords import MAIN, listed, make
from tests.auth.test_auth_passwords import change, copied_at_every_commit, recover
from tests.keyring.two_halves import TENANT, TwoHalves, new_cell, opened, refused, run, settled, stamp

from bulkhead.boundary.messages.to_auth import MatchAuth, RevokeAppPasswords, Scope
from bulkhead.boundary.messages.to_keyring import (
    ArrivedKey,
    CountKeyring,
    MatchKeyring,
    OpenArrived,
    OpenNames,
    OpenPages,
    OpenSlots,
    RenewMailboxes,
    ResealSlots,
    Session,
    SetHalfState,
    SlottedKey,
)
from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, EmailId, new_id
from bulkhead.records.mailbox import Binding, VerifiedBinding
from bulkhead.records.message import open_key_box, seal_key_box
from bulkhead.records.record import Kind, read_header

EMAIL = EmailId(bytes(range(16)))
KEY = bytes(range(32))


async def order(cell: TwoHalves) -> int:
    return (await cell.ask("cli", "keyring", RenewMailboxes(stamp(), "keyring was compromised"))).number


def binding_of(cell: TwoHalves, account: AccountId, session: Session) -> VerifiedBinding:
    assert session.binding is not None
    return Binding(session.binding.record).verify(cell.binding_key, TENANT, account)


async def opens(cell: TwoHalves, session: Session, box: bytes) -> bytes | None:
    """The message key in a box of arrived mail."""
    (opened_key,) = (await cell.ask("access", "keyring", OpenArrived(session.handle, (ArrivedKey(EMAIL, box),)))).keys
    return None if opened_key is None else opened_key.key


def generations(cell: TwoHalves) -> list[int]:
    return [row[0] for row in cell.database("keyring").read("SELECT generation FROM mailbox ORDER BY generation")]


def test_the_next_login_gets_a_new_key_and_what_the_old_one_had_opened_ends(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        reads, sends = await make(cell, account), await make(cell, account, Scope.SUBMIT)
        before, by_app = await cell.log_in(account, MAIN), await cell.log_in(account, reads)
        old = binding_of(cell, account, before)
        box = seal_key_box(old, EMAIL, KEY)
        (slotted,) = (await cell.ask("access", "keyring", OpenArrived(before.handle, (ArrivedKey(EMAIL, box),)))).keys
        assert slotted is not None
        stolen = cell.state("keyring").sessions.all()[0].seed
        assert await order(cell) == 1
        assert await opens(cell, before, box) == KEY  # nothing ends by the order alone
        await cell.log_in(account, reads)
        assert generations(cell) == [1]  # nor by an app password, which has no way to the main half

        after = await cell.log_in(account, MAIN)
        new = binding_of(cell, account, after)
        assert (old.generation, new.generation) == (1, 2)
        assert after.metadata_key != before.metadata_key
        for ended in (before, by_app):
            with refused("no-session"):
                await opens(cell, ended, box)
        assert len(cell.seen.ended) == 3 and {fact.reason for _, fact in cell.seen.ended} == {"mailbox-key-renewed"}
        assert not await cell.admits(account, reads)
        halves = [
            await cell.ask("cli", "auth", MatchAuth(account)),
            await cell.ask("cli", "keyring", MatchKeyring(account)),
        ]
        assert halves[0].halves == halves[1].halves  # the census finds nothing that disagrees
        await cell.log_in(account, sends, Scope.SUBMIT, "submit")
        assert [(row.cred, row.ended) for row in await listed(cell, account)] == [(1, True), (2, False)]

        assert await opens(cell, after, box) == KEY
        assert await opens(cell, after, seal_key_box(new, EMAIL, KEY)) == KEY
        item = (SlottedKey(EMAIL, slotted.slot),)
        assert (await cell.ask("access", "keyring", OpenSlots(after.handle, item))).keys == (KEY,)
        (resealed,) = (await cell.ask("access", "keyring", ResealSlots(after.handle, item))).slots
        assert resealed is not None and read_header(resealed, Kind.SLOT).key_version == 2
        names = await cell.ask("access", "keyring", OpenNames(after.handle, 1))
        assert names.key == before.metadata_key
        old_page = (await cell.ask("access", "keyring", OpenPages(after.handle, (1,), 1))).keys
        assert old_page == (stolen.page_key(1),)
        for unknown in (3, 0xFFFFFFFF):
            with refused("no-such-generation"):
                await cell.ask("access", "keyring", OpenPages(after.handle, (1,), unknown))
        with pytest.raises(IntegrityError):  # whoever had keyring's memory before
            open_key_box(seal_key_box(new, EMAIL, KEY), stolen.message_private_key(), TENANT, account, EMAIL)

        counts = await cell.ask("cli", "keyring", CountKeyring())
        assert (counts.renewal, counts.renewed, counts.mailboxes) == (1, 1, 1)
        assert (counts.old_boxes, counts.old_pages) == (1, 1)
        again = await cell.log_in(account, MAIN)
        assert binding_of(cell, account, again).generation == 2  # once for an order
        assert await opens(cell, after, box) == KEY  # and that login ends nobody
        kinds = cell.seen.kinds()
        await settled(lambda: "MailboxKeyRenewed" in cell.seen.kinds())
        assert kinds.index("MailboxRenewalOrdered") < cell.seen.kinds().index("MailboxKeyRenewed")
        made = await make(cell, account)  # anew, as the list says
        assert await cell.admits(account, made)
        await cell.ask("cli", "auth", RevokeAppPasswords(stamp(), account, 1))
        assert [row.ended for row in await listed(cell, account)] == [False, False]

    run(tmp_path, work)


def test_older_seeds_are_kept_until_store_says_that_nothing_is_under_them(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        box = seal_key_box(binding_of(cell, account, await cell.log_in(account, MAIN)), EMAIL, KEY)
        for number in (2, 3):
            await order(cell)
            session = await cell.log_in(account, MAIN)
            assert binding_of(cell, account, session).generation == number
        await cell.restart("keyring")
        cell.connect("keyring", "store")
        session = await cell.log_in(account, MAIN)
        assert await opens(cell, session, box) == KEY  # by the chain
        assert await cell.admits(account, MAIN)
        await settled(lambda: any(end.below == 3 for end in cell.seen.ends))
        assert generations(cell) == [1, 2, 3]

        cell.left, cell.refused = False, {"MailboxKeyDestroyed"}  # nothing goes before the ledger has it
        ends = len(cell.seen.ends)
        await cell.log_in(account, MAIN)
        await settled(lambda: len(cell.seen.ends) > ends and not cell.services["keyring"]._keyring.renewal._settling)
        assert generations(cell) == [1, 2, 3]
        cell.refused = set()
        session = await cell.log_in(account, MAIN)
        await settled(lambda: generations(cell) == [3])
        assert cell.seen.kinds().count("MailboxKeyDestroyed") == 1
        after = await cell.log_in(account, MAIN)
        assert await opens(cell, after, box) is None
        token = await recover(cell, account)  # by both shares, which are of the newest
        await cell.set_password(account, b"a new password", token)
        assert await opens(cell, await cell.log_in(account, b"a new password"), box) is None

    run(tmp_path, work)


def test_a_recovery_opens_what_older_keys_sealed(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        box = seal_key_box(binding_of(cell, account, await cell.log_in(account, MAIN)), EMAIL, KEY)
        await order(cell)
        await cell.log_in(account, MAIN)
        await cell.set_password(account, b"a new password", await recover(cell, account))
        session = await cell.log_in(account, b"a new password")
        assert binding_of(cell, account, session).generation == 2
        assert await opens(cell, session, box) == KEY

    run(tmp_path, work)


def test_a_token_of_the_old_key_sets_no_password_any_more(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        token = await recover(cell, account)
        await order(cell)
        await cell.log_in(account, MAIN)
        with pytest.raises(Error):
            await cell.set_password(account, b"a new password", token)
        assert await cell.admits(account, MAIN)

    run(tmp_path, work)


def test_a_change_of_password_after_an_order_ends_at_the_new_key(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        await order(cell)
        await change(cell, account, MAIN, b"a new password")
        session = await cell.log_in(account, b"a new password")
        assert binding_of(cell, account, session).generation == 2
        assert generations(cell) == [1, 2]

    run(tmp_path, work)


def test_what_a_renewal_ended_stays_ended_when_the_account_is_suspended_and_opened(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        reads = await make(cell, account)
        await order(cell)
        await cell.log_in(account, MAIN)
        for state in (AccountState.SUSPENDED, AccountState.OPEN):
            await cell.ask("cli", "keyring", SetHalfState(stamp(), account, state))
        assert not await cell.admits(account, reads)
        assert await cell.admits(account, MAIN)

    run(tmp_path, work)


def test_many_logins_at_once_make_one_new_key_and_all_are_admitted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        await order(cell)
        await cell.log_in(account, MAIN)
        await order(cell)
        found = await asyncio.gather(*(cell.log_in(account, MAIN) for _ in range(6)), return_exceptions=True)
        sessions = [one for one in found if isinstance(one, Session)]
        assert sessions and {binding_of(cell, account, one).generation for one in sessions} == {3}
        others = [one for one in found if not isinstance(one, Session)]
        assert all(isinstance(one, Refused) and one.code == "bad-credentials" for one in others)
        assert generations(cell) == [1, 2, 3]

    run(tmp_path, work)


def test_an_app_password_whose_record_is_damaged_does_not_stand_in_the_way(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        await make(cell, account)
        bid = cell.state("keyring").keys.bid(account, 1)
        spoil = "UPDATE half SET record = x'00' WHERE bid = ?"
        await cell.database("keyring").write(lambda connection: connection.execute(spoil, (bid,)))
        await order(cell)
        assert binding_of(cell, account, await cell.log_in(account, MAIN)).generation == 2

    run(tmp_path, work)


def test_accounts_made_after_an_order_need_no_renewal(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await cell.add_account(MAIN)
        await order(cell)
        new = await cell.add_account(MAIN)
        assert binding_of(cell, new, await cell.log_in(new, MAIN)).generation == 1
        counts = await cell.ask("cli", "keyring", CountKeyring())
        assert (counts.renewed, counts.mailboxes) == (1, 2)

    run(tmp_path, work)


def test_killed_after_any_commit_the_password_opens_old_and_new_mail(tmp_path: Path) -> None:
    async def work() -> None:
        cell = new_cell(tmp_path / "cell", auth={"failure_seconds": 0.05})
        async with opened(cell):
            account = await cell.add_account(MAIN)
            box = seal_key_box(binding_of(cell, account, await cell.log_in(account, MAIN)), EMAIL, KEY)
            cell.left = False
            with copied_at_every_commit(cell, tmp_path) as copies:
                await order(cell)
                await cell.log_in(account, MAIN)
                await settled(lambda: generations(cell) == [2])
                await asyncio.sleep(0.05)
        found = set()
        for copy in copies:
            again = TwoHalves(copy, cell.keys, cell.settings)
            async with opened(again):
                had = generations(again)
                session = await again.log_in(account, MAIN)
                newest = binding_of(again, account, session)
                assert await opens(again, session, seal_key_box(newest, EMAIL, KEY)) == KEY
                assert await opens(again, session, box) == (None if had == [2] else KEY)
                found.add((tuple(had), newest.generation))
        assert found == {((1,), 1), ((1,), 2), ((1, 2), 2), ((2,), 2)}

    asyncio.run(work())


def test_a_copy_of_keyring_from_before_opens_nothing_that_was_sealed_after(tmp_path: Path) -> None:
    """With its keys and with the password: what it has not is the new seed."""

    async def work() -> None:
        cell = new_cell(tmp_path / "cell")
        async with opened(cell):
            account = await cell.add_account(MAIN)
            first = binding_of(cell, account, await cell.log_in(account, MAIN))
            with copied_at_every_commit(cell, tmp_path) as copies:
                pass
            await order(cell)
            new = binding_of(cell, account, await cell.log_in(account, MAIN))
        boxes = [seal_key_box(binding, EMAIL, KEY) for binding in (first, new)]
        thief = TwoHalves(copies[0], cell.keys, cell.settings)
        async with opened(thief):
            session = await thief.log_in(account, MAIN)
            assert [await opens(thief, session, box) for box in boxes] == [KEY, None]

    asyncio.run(work())


def test_a_half_made_by_an_unknown_account_is_none(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        keyring = cell.state("keyring")
        assert keyring.halves.state_of(account, 0) == 1
        assert keyring.halves.state_of(AccountId(new_id()), 0) == 0
        assert keyring.halves.state_of(account, secrets.randbelow(100) + 1) == 0

    run(tmp_path, work)
