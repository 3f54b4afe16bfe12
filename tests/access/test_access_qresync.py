"""QRESYNC (RFC 7162 section 3.2): what a client that was away is told, and VANISHED."""

import re

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.store import rows


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    cell.deliver(account, *(message(str(n)) for n in range(1, 11)))
    raw = cell.raw(account)
    assert raw.command("ENABLE QRESYNC")[0] == b"* ENABLED QRESYNC\r\n"
    raw.command("SELECT INBOX")
    return raw


def state(cell: Cell, account: Account) -> tuple[int, int]:
    """UIDVALIDITY and HIGHESTMODSEQ of INBOX."""
    text = b"".join(cell.raw(account).command("EXAMINE INBOX"))
    found = [re.search(rb"\[%s (\d+)\]" % name, text) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]
    assert found[0] and found[1]
    return int(found[0][1]), int(found[1][1])


def expunge(raw: Raw, uids: str) -> list[bytes]:
    raw.command(f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
    return raw.command(f"UID EXPUNGE {uids}")


def back(cell: Cell, account: Account, known: str) -> list[bytes]:
    """What of changes a client is told that comes back with this knowledge."""
    raw = cell.raw(account)
    raw.command("ENABLE QRESYNC")
    lines = raw.command(f"SELECT INBOX (QRESYNC ({known}))")
    assert b" OK [READ-WRITE]" in lines[-1]
    raw.close()
    return [line for line in lines if b"VANISHED" in line or b" FETCH " in line]


def test_an_expunge_is_told_as_vanished_with_the_highest_modseq(cell: Cell, account: Account, raw: Raw) -> None:
    plain = cell.raw(account)
    plain.command("SELECT INBOX")
    lines = expunge(raw, "2:4,7")
    highest = state(cell, account)[1]
    assert lines[:-1] == [b"* VANISHED 2:4,7\r\n"]
    assert b" OK [HIGHESTMODSEQ %d] " % highest in lines[-1]
    assert b"HIGHESTMODSEQ" not in raw.command("EXPUNGE")[-1]
    assert b"* 7 EXPUNGE\r\n" in plain.command("NOOP")
    assert raw.command("FETCH 2 UID")[0] == b"* 2 FETCH (UID 5)\r\n"


def test_a_move_is_told_as_vanished_with_the_highest_modseq(cell: Cell, account: Account, raw: Raw) -> None:
    lines = raw.command("MOVE 3:4 Trash")
    assert lines[0].startswith(b"* OK [COPYUID ") and lines[1:-1] == [b"* VANISHED 3:4\r\n"]
    assert b"[HIGHESTMODSEQ %d]" % state(cell, account)[1] in lines[-1]


def test_others_expunges_vanish_too_but_not_while_numbers_are_used(cell: Cell, account: Account, raw: Raw) -> None:
    other = cell.raw(account)
    other.command("SELECT INBOX")
    other.command("UID STORE 5 +FLAGS (\\Deleted)")
    raw.command("NOOP")
    other.command("EXPUNGE")
    for command in ("FETCH 1 FLAGS", "UID SEARCH NOT 1:3", "UID SORT (SIZE) UTF-8 OR 1 2"):
        assert b"VANISHED" not in b"".join(raw.command(command))
    assert raw.command("NOOP")[0] == b"* VANISHED 5\r\n"


def test_close_tells_neither_what_vanished_nor_the_highest_modseq(raw: Raw) -> None:
    raw.command("STORE 1 +FLAGS (\\Deleted)")
    lines = raw.command("CLOSE")
    assert len(lines) == 1 and b"HIGHESTMODSEQ" not in lines[0]


def test_select_says_that_the_mailbox_before_is_closed(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert b"CLOSED" not in b"".join(raw.command("SELECT INBOX"))
    assert raw.command("EXAMINE Trash")[0].startswith(b"* OK [CLOSED] ")
    assert raw.command("SELECT None")[0].startswith(b"* OK [CLOSED] ")
    assert b"CLOSED" not in b"".join(raw.command("SELECT INBOX"))
    raw.command("UNSELECT")
    assert b"CLOSED" not in b"".join(raw.command("SELECT INBOX"))


def test_a_client_that_was_away_is_told_what_vanished_and_what_changed(cell: Cell, account: Account, raw: Raw) -> None:
    validity, before = state(cell, account)
    expunge(raw, "2,3,9")
    raw.command("UID STORE 5 +FLAGS (\\Flagged)")
    cell.deliver(account, message("11"))
    highest = state(cell, account)[1]
    flagged = int(re.findall(rb"MODSEQ \((\d+)\)", b"".join(raw.command("UID FETCH 5 MODSEQ")))[0])
    vanished, *changed = back(cell, account, f"{validity} {before}")
    assert vanished == b"* VANISHED (EARLIER) 2:3,9\r\n"
    assert changed[0] == b"* 3 FETCH (UID 5 FLAGS (\\Flagged) MODSEQ (%d))\r\n" % flagged
    assert re.fullmatch(rb"\* 8 FETCH \(UID 11 FLAGS \(.*\) MODSEQ \(%d\)\)\r\n" % highest, changed[1])
    assert len(changed) == 2
    assert back(cell, account, f"{validity} {before} 1:2,4:8")[0] == b"* VANISHED (EARLIER) 2\r\n"
    assert [line[:9] for line in back(cell, account, f"{validity} {before} 1:2,4:8")] == [b"* VANISHE", b"* 3 FETCH"]
    assert back(cell, account, f"{validity} {highest}") == []
    assert back(cell, account, f"{validity + 1} {before}") == []


def test_where_the_log_does_not_reach_back_all_that_is_not_here_vanished(
    cell: Cell, account: Account, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    validity, before = state(cell, account)
    monkeypatch.setattr(rows, "LOG_MAX", 2)
    for uid in (2, 3, 4, 6, 8):
        expunge(raw, str(uid))
    highest = state(cell, account)[1]
    assert back(cell, account, f"{validity} {before}")[0] == b"* VANISHED (EARLIER) 2:4,6,8\r\n"
    assert back(cell, account, f"{validity} {before} 3:6,8:20")[0] == b"* VANISHED (EARLIER) 3:4,6,8\r\n"
    # message 2 is UID 5 now as it was then, so nothing up to 5 has vanished since
    assert back(cell, account, f"{validity} {before} 1:10 (1:2,5 1,5,9)")[0] == b"* VANISHED (EARLIER) 6,8\r\n"
    assert back(cell, account, f"{validity} {before} (1:5 1:5)")[0] == b"* VANISHED (EARLIER) 2:4,6,8\r\n"
    assert back(cell, account, f"{validity} {highest}") == []


def test_uid_fetch_tells_what_vanished_before_what_changed(cell: Cell, account: Account, raw: Raw) -> None:
    before = state(cell, account)[1]
    expunge(raw, "2,9:10")
    other = cell.raw(account)
    other.command("SELECT INBOX")
    expunge(other, "4")
    other.command("UID STORE 6 +FLAGS (\\Answered)")
    lines = raw.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before} VANISHED)")
    assert lines[0] == b"* VANISHED 4\r\n"  # what was counted until now goes without EARLIER
    assert b"* VANISHED (EARLIER) 2,4,9:10\r\n" in lines
    assert lines[-2].startswith(b"* 4 FETCH (UID 6 FLAGS (") and b"\\Answered" in lines[-2]
    assert lines.index(b"* VANISHED (EARLIER) 2,4,9:10\r\n") == len(lines) - 3
    lines = raw.command(f"UID FETCH 3:5 (FLAGS) (VANISHED CHANGEDSINCE {before})")
    assert lines[:-1] == [b"* VANISHED (EARLIER) 4\r\n"]


def test_nothing_of_qresync_is_done_before_it_is_enabled(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("ENABLE CONDSTORE")
    raw.command("SELECT INBOX")
    assert b" BAD " in raw.command("SELECT INBOX (QRESYNC (1 1))")[-1]
    assert b" BAD " in raw.command("UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)")[-1]
    assert b" OK " in raw.command("CHECK")[-1]  # the mailbox is still selected


def test_enabling_in_a_mailbox_tells_its_highest_modseq(cell: Cell, account: Account, raw: Raw) -> None:
    late = cell.raw(account)
    late.command("SELECT INBOX")
    assert late.command("ENABLE CONDSTORE")[1].startswith(b"* OK [HIGHESTMODSEQ %d] " % state(cell, account)[1])


def test_flags_that_reading_set_come_with_the_uid(raw: Raw) -> None:
    line = raw.command("FETCH 3 BODY[TEXT]")[-2]
    assert b" UID 3 FLAGS (" in line and b"\\Seen" in line and b" MODSEQ (" in line


@pytest.mark.parametrize(
    "command",
    [
        "SELECT INBOX (QRESYNC)", "SELECT INBOX (QRESYNC ())", "SELECT INBOX (QRESYNC (1))",
        "SELECT INBOX (QRESYNC (0 1))", "SELECT INBOX (QRESYNC (1 1 *))", "SELECT INBOX (QRESYNC (1 1 1:*))",
        "SELECT INBOX (QRESYNC (1 1 1 (1:2 1)))", "SELECT INBOX (QRESYNC (1 1 (2,1 1,2)))",
        "SELECT INBOX (QRESYNC (1 1) QRESYNC (1 1))", "SELECT INBOX (QRESYNC (1 1 1 (1 1) 1))",
        "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (VANISHED)",
        "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED VANISHED)", "UID FETCH 1 FLAGS (CHANGEDSINCE 1  VANISHED)",
    ],
)  # fmt: skip
def test_what_is_not_the_grammar_is_refused(raw: Raw, command: str) -> None:
    assert b" BAD " in raw.command(command)[-1]
