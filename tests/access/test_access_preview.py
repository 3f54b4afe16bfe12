"""PREVIEW, THREADID and windows of FETCH, over a running cell."""

import pytest
from tests.access.cell import Cell, Raw, message

from bulkhead.boundary.messages.to_store import ReadPart


@pytest.fixture
def raw(cell: Cell) -> Raw:
    account = cell.add_account()
    alternative = (
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>Rich</p>\r\n--b\r\nContent-Type: text/plain\r\n\r\nPoor\r\n--b--\r\n"
    )
    cell.deliver(
        account,
        message("one", b"First  line\r\nsecond\r\n"),
        message("two", "会議です".encode("iso-2022-jp"), b"Content-Type: text/plain; charset=iso-2022-jp\r\n"),
        message("three", alternative, b'Content-Type: multipart/alternative; boundary="b"\r\n'),
        message("four", b"\x00\x01", b"Content-Type: image/png\r\n"),
        message("five", b"x" * 300_000),
    )
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    return raw


def test_a_preview_tells_how_the_text_begins(raw: Raw) -> None:
    lines = raw.command("FETCH 1:* (PREVIEW)")
    assert lines[0] == b'* 1 FETCH (PREVIEW "First line second")\r\n'
    assert lines[1] == b"* 2 FETCH (PREVIEW {12}\r\n" + "会議です".encode() + b")\r\n"
    assert lines[2] == b'* 3 FETCH (PREVIEW "Poor")\r\n'
    assert lines[3] == b'* 4 FETCH (PREVIEW "")\r\n'
    assert lines[4] == b'* 5 FETCH (PREVIEW "%s")\r\n' % (b"x" * 200)


def test_a_lazy_preview_is_told_only_when_it_is_at_hand(cell: Cell, raw: Raw) -> None:
    assert raw.command("FETCH 1 PREVIEW (LAZY)")[0] == b"* 1 FETCH (PREVIEW NIL)\r\n"
    raw.command("FETCH 1 PREVIEW")
    with cell.sending() as requests:
        assert raw.command("UID FETCH 1 (PREVIEW (lazy) FLAGS)")[0].startswith(
            b'* 1 FETCH (UID 1 PREVIEW "First line second" FLAGS ('
        )
        assert raw.command("FETCH 1 PREVIEW")[0] == b'* 1 FETCH (PREVIEW "First line second")\r\n'
    assert not [request for request in requests if isinstance(request, ReadPart)]


def test_a_preview_does_not_set_seen_and_is_read_before_modifiers(raw: Raw) -> None:
    raw.command("FETCH 1 PREVIEW")
    assert raw.command("SEARCH SEEN")[0] == b"* SEARCH\r\n"
    assert b" OK " in raw.command("FETCH 1 PREVIEW (CHANGEDSINCE 1)")[-1]


def test_no_message_has_a_thread_id(raw: Raw) -> None:
    assert raw.command("FETCH 1 THREADID")[0] == b"* 1 FETCH (THREADID NIL)\r\n"


def test_fetch_tells_a_window_of_what_was_asked_for(raw: Raw) -> None:
    def uids(text: str) -> list[int]:
        return [int(line.split()[1]) for line in raw.command(text) if b" FETCH (" in line]

    assert uids("UID FETCH 1:* (UID) (PARTIAL 2:3)") == [2, 3]
    assert uids("UID FETCH 1,3,5 (UID) (PARTIAL -1:-2)") == [3, 5]
    assert uids("UID FETCH 1:* (UID) (PARTIAL 9:10)") == []
    assert uids("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 PARTIAL -1:-1)") == [5]
    assert b" BAD " in raw.command("FETCH 1:* (UID) (PARTIAL 1:2)")[-1]
    assert b" BAD " in raw.command("UID FETCH 1:* (UID) (PARTIAL 1:2 PARTIAL 1:2)")[-1]
