"""CONDSTORE (RFC 7162): MODSEQs told, compared and searched for."""

import re

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.access import imap_mailbox


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    cell.deliver(account, *(message(str(n)) for n in range(1, 4)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX (CONDSTORE)")
    return raw


def modseqs(raw: Raw) -> list[int]:
    return [int(n) for n in re.findall(rb"MODSEQ \((\d+)\)", b"".join(raw.command("FETCH 1:* MODSEQ")))]


def test_select_and_status_tell_the_highest_modseq(cell: Cell, account: Account, raw: Raw) -> None:
    highest = max(modseqs(raw))
    assert b"* OK [HIGHESTMODSEQ %d]" % highest in b"".join(raw.command("SELECT INBOX"))
    assert raw.command("STATUS INBOX (HIGHESTMODSEQ)")[0] == b"* STATUS INBOX (HIGHESTMODSEQ %d)\r\n" % highest
    assert b"* OK [HIGHESTMODSEQ " in b"".join(cell.raw(account).command("EXAMINE Trash"))


def test_a_change_is_told_with_its_modseq_and_a_silent_one_with_nothing_else(raw: Raw) -> None:
    loud = raw.command("STORE 2 +FLAGS (\\Seen)")
    second = modseqs(raw)[1]
    assert loud[0] == b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Seen) MODSEQ (%d))\r\n" % second
    silent = raw.command("STORE 1 +FLAGS.SILENT (\\Seen)")
    first = modseqs(raw)[0]
    assert first > second and silent[:-1] == [b"* 1 FETCH (UID 1 MODSEQ (%d))\r\n" % first]
    read = raw.command("FETCH 3 BODY[TEXT]")
    assert read[-2].endswith(b"FLAGS (\\Recent \\Seen) MODSEQ (%d))\r\n" % modseqs(raw)[2])


def test_a_session_that_asked_for_no_modseq_is_told_none(cell: Cell, account: Account, raw: Raw) -> None:
    plain = cell.raw(account)
    plain.command("SELECT INBOX")
    raw.command("STORE 2 +FLAGS (\\Flagged)")
    assert b"MODSEQ" not in b"".join(plain.command("NOOP"))
    assert plain.command("ENABLE CONDSTORE X-NONE")[0] == b"* ENABLED CONDSTORE\r\n"
    raw.command("STORE 2 -FLAGS (\\Flagged)")
    assert b" MODSEQ (%d))" % modseqs(raw)[1] in plain.command("NOOP")[0]


def test_fetch_tells_only_what_changed_since(raw: Raw) -> None:
    before = max(modseqs(raw))
    raw.command("STORE 2 +FLAGS (\\Flagged)")
    lines = raw.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})")
    assert lines[:-1] == [b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Flagged) MODSEQ (%d))\r\n" % max(modseqs(raw))]
    assert len(raw.command(f"FETCH 1:* FLAGS (CHANGEDSINCE {max(modseqs(raw))})")) == 1


def test_store_leaves_what_has_changed_since(cell: Cell, account: Account, raw: Raw) -> None:
    before = max(modseqs(raw))
    other = cell.raw(account)
    other.command("SELECT INBOX")
    other.command("STORE 2 +FLAGS (\\Answered)")
    lines = raw.command(f"STORE 1:3 (UNCHANGEDSINCE {before}) +FLAGS (\\Deleted)")
    assert b"OK [MODIFIED 2]" in lines[-1]
    assert raw.command("SEARCH DELETED")[0] == b"* SEARCH 1 3\r\n"
    lines = raw.command("UID STORE 1:3 (UNCHANGEDSINCE 0) -FLAGS (\\Deleted)")
    assert b"OK [MODIFIED 1:3]" in lines[-1]
    assert raw.command("SEARCH DELETED")[0] == b"* SEARCH 1 3\r\n"


def test_search_finds_by_modseq_and_tells_the_highest(raw: Raw) -> None:
    raw.command("STORE 2 +FLAGS (\\Flagged)")
    highest = max(modseqs(raw))
    assert raw.command(f"SEARCH MODSEQ {highest}")[0] == b"* SEARCH 2 (MODSEQ %d)\r\n" % highest
    assert raw.command(f"SEARCH MODSEQ {highest + 1}")[0] == b"* SEARCH\r\n"
    least = modseqs(raw)[0]
    assert raw.command("SEARCH RETURN (MIN) MODSEQ 1")[0].endswith(b"MIN 1 MODSEQ %d\r\n" % least)
    assert raw.command("SEARCH RETURN (ALL) MODSEQ 1 LARGER 1")[0].endswith(b"ALL 1:3 MODSEQ %d\r\n" % highest)


@pytest.mark.parametrize(
    "command",
    [
        "SELECT INBOX (NONE)", "SELECT INBOX ()", "FETCH 1 FLAGS (CHANGEDSINCE)", "FETCH 1 FLAGS (CHANGEDSINCE x)",
        "FETCH 1 FLAGS (UNCHANGEDSINCE 1)", "STORE 1 (UNCHANGEDSINCE -1) FLAGS ()", "SEARCH MODSEQ",
        "STORE 1 (UNCHANGEDSINCE 99999999999999999999) FLAGS ()", "SEARCH MODSEQ \"/flags/x\" none 1",
    ],
)  # fmt: skip
def test_what_is_not_the_grammar_is_refused(raw: Raw, command: str) -> None:
    assert b" BAD " in raw.command(command)[-1]


def test_a_store_on_very_many_tells_of_each_message_once_as_it_goes(
    cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_mailbox, "PORTION", 3)
    cell.deliver(account, *(message(f"{n}") for n in range(8)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    lines = raw.command("STORE 1:4,6:8 +FLAGS (\\Seen)")
    assert [int(line.split()[1]) for line in lines[:-1]] == [1, 2, 3, 4, 6, 7, 8]
    assert all(b"\\Seen" in line for line in lines[:-1])
    assert lines[-1].endswith(b"OK STORE completed\r\n")
    assert raw.command("STORE 1:* +FLAGS.SILENT (\\Flagged)")[-1].endswith(b"OK STORE completed\r\n")
    assert len(raw.command("SEARCH FLAGGED")[0].split()) == 10
