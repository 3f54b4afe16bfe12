"""A mailbox key is renewed at a login: old mail, new mail and names read as before; what the old key opened ends."""

import imaplib
import time
from collections.abc import Iterator

import pytest
from tests.access.cell import Account, Cell, message, stamp

from bulkhead.boundary.messages.to_keyring import CountKeyring, KeyringCounts, RenewMailboxes
from bulkhead.errors import TemporaryFailure
from bulkhead.records.mailbox import Binding


def order(cell: Cell) -> int:
    return int(cell.ask(RenewMailboxes(stamp(), "keyring was compromised"), "keyring").number)


def counts(cell: Cell) -> KeyringCounts:
    found: KeyringCounts = cell.ask(CountKeyring(), "keyring")
    return found


def generations(cell: Cell, account: Account) -> list[int]:
    """Those that keyring has of an account."""

    async def read() -> list[int]:
        keyring = cell.services["keyring"]._keyring
        rows = keyring.database.read(
            "SELECT generation FROM mailbox WHERE mid = ? ORDER BY generation", (keyring.keys.mid(account.id),)
        )
        return [row[0] for row in rows]

    return cell.holders.run(read())


def resolved(cell: Cell, account: Account) -> int:
    """The generation that directory shows to mx."""

    async def resolve() -> int:
        row = cell.services["directory"]._directory.reach.resolve(account.address)
        account.binding = row.binding
        return Binding(row.binding.record).generation

    return cell.holders.run(resolve())


def subjects(client: imaplib.IMAP4_SSL, mailbox: str = "INBOX") -> list[bytes]:
    client.select(mailbox)
    _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [part[1].split(b": ", 1)[1].strip() for part in found if isinstance(part, tuple)]


def texts(client: imaplib.IMAP4_SSL, mailbox: str = "INBOX") -> list[bytes]:
    client.select(mailbox)
    _, found = client.fetch("1:*", "(BODY.PEEK[])")
    return [part[1] for part in found if isinstance(part, tuple)]


def folders(client: imaplib.IMAP4_SSL) -> set[bytes]:
    return {line.split(b'"/" ')[1] for line in client.list()[1] if isinstance(line, bytes)}


def wait_until(what: str, done: "Iterator[bool] | object", seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def test_everything_reads_as_before_and_the_old_key_goes(cell: Cell, account: Account) -> None:
    mail = [message(f"Old {n}", b"Text %d\r\n" % n) for n in range(5)]
    cell.deliver(account, *mail)
    first = cell.imap(account)
    first.create('"Caf&AOk-/2026"')
    first.subscribe('"Caf&AOk-/2026"')
    first.select("INBOX")
    cell.wait_filed(account)
    first.store("1", "+FLAGS", "(Wichtig)")
    first.copy("2", '"Caf&AOk-/2026"')
    late = message("Arrived before")
    cell.deliver(account, late)  # stays in its box
    names = folders(first)
    before = counts(cell)
    number = order(cell)
    assert counts(cell).renewal == number

    second = cell.imap(account)  # by the main password: the cached login ended with the order
    with pytest.raises(imaplib.IMAP4.abort):
        first.noop()
    assert generations(cell, account)[-1] == 2
    assert counts(cell).renewed == 1
    assert resolved(cell, account) == 2
    new = message("Arrived after")
    cell.deliver(account, new)
    assert folders(second) == names
    assert [line for line in second.lsub()[1] if b"Caf&AOk-/2026" in line]
    assert texts(second) == [*mail, late, new]
    _, flags = second.fetch("1", "(FLAGS)")
    assert b"Wichtig" in flags[0]
    assert texts(second, '"Caf&AOk-/2026"') == [mail[1]]
    assert second.create('"Caf&AOk-/2026"')[0] == "NO"  # its tag is the new one, and still its own
    second.select("INBOX")
    assert counts(cell).old_boxes > before.old_boxes

    def settled() -> bool:
        second.select("INBOX")
        cell.imap(account).logout()
        return generations(cell, account) == [2]

    wait_until("the old seed is kept", settled)
    stored = cell.rows(
        "SELECT min(p.generation) FROM page p JOIN account a ON a.seq = p.account WHERE a.account = ?", account.id
    )
    assert stored == [(2,)]
    cell.restart("keyring")
    assert texts(cell.imap(account)) == [*mail, late, new]


def test_pop3_append_and_copies_go_on_across_a_renewal(cell: Cell, account: Account) -> None:
    old, late = message("Never filed"), message("Appended after")
    cell.deliver(account, old)
    order(cell)
    pop = cell.pop(account)
    assert generations(cell, account) == [1, 2]
    assert b"\r\n".join(pop.retr(1)[1]) + b"\r\n" == old
    pop.quit()
    client = cell.imap(account)
    client.append("INBOX", "", None, late)
    assert texts(client) == [old, late]
    client.copy("1:2", "Archive")
    assert texts(client, "Archive") == [old, late]
    order(cell)
    third = cell.imap(account)
    assert texts(third, "Archive") == [old, late]
    assert generations(cell, account)[-1] == 3


def test_mail_sealed_to_the_old_binding_opens_until_the_old_key_goes_and_is_refused_after(
    cell: Cell, account: Account
) -> None:
    old_binding = account.binding
    before, meanwhile = message("Before"), message("By an older binding")
    cell.deliver(account, before)
    order(cell)
    cell.pop(account).quit()  # files nothing, so there is something under the old key
    cell.deliver(account, meanwhile)  # mx had asked directory before
    client = cell.imap(account)
    assert texts(client) == [before, meanwhile]

    def settled() -> bool:
        client.select("INBOX")
        cell.imap(account).logout()
        return generations(cell, account) == [2]

    wait_until("the old seed is kept", settled)
    with pytest.raises(TemporaryFailure) as caught:
        cell.deliver(account, message("Too late"))
    assert caught.value.code == "old-binding"
    assert resolved(cell, account) == 2 and account.binding != old_binding
    cell.deliver(account, message("In time"))
    client.noop()
    assert subjects(client) == [b"Before", b"By an older binding", b"In time"]


@pytest.mark.parametrize("name", ["keyring", "store"])
def test_a_restart_between_renewal_and_sealing_anew_loses_no_name_and_no_message(
    cell: Cell, account: Account, name: str
) -> None:
    mail = message("Kept")
    cell.deliver(account, mail)
    first = cell.imap(account)
    first.create("Projects")
    first.select("INBOX")
    cell.wait_filed(account)
    names = folders(first)
    order(cell)
    cell.pop(account).quit()  # renews, and seals nothing anew
    cell.restart(name)
    after = cell.imap(account)
    assert folders(after) == names
    assert texts(after) == [mail]
