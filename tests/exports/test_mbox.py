"""A folder as mboxrd: read back by the standard library, quoted so that no line begins a message."""

import mailbox
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.exports.mbox import LINE_BYTES, MboxMessage, write_mbox


def written(folder: Path, *messages: bytes, flags: int = 0, keywords: tuple[str, ...] = ()) -> bytes:
    listed = []
    for uid, message in enumerate(messages, 1):
        (folder / str(uid)).write_bytes(message)
        listed.append(MboxMessage(folder / str(uid), uid, 1_000_000_000, flags, keywords))
    write_mbox(folder / "a.mbox", 7, 99, listed)
    return (folder / "a.mbox").read_bytes()


def test_messages_are_found_again_with_uid_flags_and_keywords(tmp_path: Path) -> None:
    data = written(
        tmp_path,
        b"Subject: a\r\n\r\nFrom me\r\n>From you\r\n",
        b"Subject: b\r\n\r\nlast",
        flags=0x1F,
        keywords=("Later",),
    )
    assert data.startswith(b"From MAILER-DAEMON Sun Sep  9 01:46:40 2001\n")
    box = mailbox.mbox(tmp_path / "a.mbox")
    assert [message["X-UID"] for message in box] == ["1", "2"]
    assert {(message["Status"], message["X-Status"], message["X-Keywords"]) for message in box} == {
        ("RO", "AFTD", "Later")
    }
    assert box[0]["X-IMAP"] == "0000000007 0000000098" and box[1]["X-IMAP"] is None
    assert box[0].get_payload() == ">From me\n>>From you\n" and box[1].get_payload() == "last\n"


def test_flags_that_a_sender_wrote_are_left_out(tmp_path: Path) -> None:
    data = written(
        tmp_path, b"X-UID: 66\r\n 7\r\nstatus : RO\r\nX-IMAPbase: 1 1\r\nTo: x\r\nX-Statusy: 1\r\n\r\nStatus: b\r\n"
    )
    head, _, body = data.partition(b"\n\n")
    assert b"66" not in head and b" 7\n" not in head and b"X-IMAPbase" not in head and b"RO" not in head
    assert b"To: x\nX-Statusy: 1\n" in head and body == b"Status: b\n\n"


@pytest.mark.parametrize("at", range(LINE_BYTES - 3, LINE_BYTES + 3))
def test_a_line_that_is_cut_to_be_read_is_the_same_line(tmp_path: Path, at: int) -> None:
    data = written(tmp_path, b"A: b\r\n\r\n" + b"x" * at + b"From \r\nFrom \r\n")
    assert data.endswith(b"\n\n" + b"x" * at + b"From \n>From \n\n")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=60) | st.text("From >:\r\n", max_size=40).map(str.encode), min_size=1, max_size=4))
def test_no_message_is_read_as_two(tmp_path: Path, messages: list[bytes]) -> None:
    data = written(tmp_path, *messages)
    assert len(re.findall(rb"(?:\A|\n\n)From MAILER-DAEMON ", data)) == len(re.findall(rb"^From ", data, re.MULTILINE))
    assert len(mailbox.mbox(tmp_path / "a.mbox")) == len(messages)
