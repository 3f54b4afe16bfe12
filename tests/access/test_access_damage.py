"""Damage and loss beside a session: one bad message hides no other, and a log cut short hides no change."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.access.cell import Account, Cell, message

from bulkhead.access import account as account_calls
from bulkhead.store import rows as store_rows


@pytest.fixture
def unreadable(cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes keyring's answers hold no key for one message of the account."""

    def spoil(uid: int) -> None:
        ((email,),) = cell.rows(
            "SELECT e.email FROM message m JOIN email e ON e.seq = m.email JOIN account a ON a.seq = e.account"
            " WHERE a.account = ? AND m.uid = ?",
            account.id,
            uid,
        )
        arrived, keys = account_calls.Account.open_arrived, account_calls.Account.message_keys

        async def open_arrived(self: Any, batch: Any) -> Any:
            found = await arrived(self, batch)
            return [None if row.email == email else key for row, key in zip(batch, found, strict=True)]

        async def message_keys(self: Any, batch: Any) -> Any:
            found = await keys(self, batch)
            return [None if row.email == email else key for row, key in zip(batch, found, strict=True)]

        monkeypatch.setattr(account_calls.Account, "open_arrived", open_arrived)
        monkeypatch.setattr(account_calls.Account, "message_keys", message_keys)

    return spoil


def test_a_message_that_does_not_open_hides_no_other(
    cell: Cell, account: Account, unreadable: Callable[[int], None]
) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(5)))
    unreadable(3)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account, left=1)
    for items in ("ENVELOPE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "(UID BODYSTRUCTURE BODY.PEEK[TEXT])"):
        lines = raw.command(f"FETCH 1:* {items}")
        assert [line.split()[1] for line in lines[:-1]] == [b"1", b"2", b"4", b"5"], items
        assert b" NO [CORRUPTION]" in lines[-1]
    lines = raw.command("SEARCH SUBJECT 4")
    assert lines[0] == b"* SEARCH 5\r\n" and b" NO [CORRUPTION]" in lines[-1]
    assert b" OK " in raw.command("FETCH 1:* (FLAGS UID)")[-1]
    assert b" OK " in raw.command("STORE 3 FLAGS (\\Deleted)")[-1]
    assert b"* 3 EXPUNGE\r\n" in raw.command("EXPUNGE")
    assert b" OK " in raw.command("FETCH 1:* (ENVELOPE BODY.PEEK[])")[-1]


def test_an_unreadable_message_is_refused_by_pop3_and_the_others_are_read(
    cell: Cell, account: Account, unreadable: Callable[[int], None]
) -> None:
    cell.deliver(account, message("1"), message("2"))
    unreadable(1)
    pop = cell.pop(account)
    with pytest.raises(Exception, match="cannot be read"):
        pop.retr(1)
    assert pop.retr(2)


def test_a_change_log_that_was_cut_hides_no_change(
    cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_rows, "LOG_MAX", 8)
    cell.deliver(account, *(message(f"{n}") for n in range(40)))
    one, two = cell.raw(account), cell.raw(account)
    one.command("SELECT INBOX")
    two.command("SELECT INBOX")
    two.command("FETCH 1:* RFC822.SIZE")
    for first in range(1, 31, 3):
        one.command(f"UID STORE {first}:{first + 1} +FLAGS.SILENT (\\Deleted)")
        one.command("EXPUNGE")
    one.command("UID STORE 3 +FLAGS.SILENT (\\Flagged)")
    cell.deliver(account, message("new"))
    lines = two.command("NOOP")
    assert sum(b"EXPUNGE\r\n" in line for line in lines) == 20
    assert b"* 21 EXISTS\r\n" in lines
    assert b"* 1 FETCH (UID 3 FLAGS (\\Flagged))\r\n" in lines
    left = [uid for uid in range(1, 42) if uid > 30 or uid % 3 == 0]
    assert [int(line.split()[4]) for line in two.command("FETCH 1:* (UID RFC822.SIZE)")[:-1]] == left


def test_a_mailbox_whose_name_does_not_open_is_still_listed(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("CREATE secret")
    database = cell.services["store"].state.database

    def spoil(connection: Any) -> None:
        connection.execute(
            "UPDATE mailbox SET sealed_name = zeroblob(60) WHERE role = 0 AND account ="
            " (SELECT seq FROM account WHERE account = ?)",
            (account.id,),
        )

    cell.holders.run(database.write(spoil))
    listed = b"".join(raw.command('LIST "" *'))
    assert b"secret" not in listed and b"unreadable-" in listed
    name = listed[listed.index(b"unreadable-") :].split(b"\r\n")[0]
    assert b" OK " in raw.command(b"SELECT " + name)[-1]
    assert b" OK " in raw.command(b"DELETE " + name)[-1]
