"""The state of an import beside its file, and a reader that does not say what it should."""

import asyncio
from pathlib import Path

import pytest

from bulkhead.cli.import_reader import messages_of
from bulkhead.cli.import_state import ImportNotes, ImportState
from bulkhead.cli.pending import PendingAccount
from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import AccountId, TenantId, parse_address
from bulkhead.imports.rows import BadLine, FileEnd, Message, ReaderLock, write_frame
from bulkhead.supervisor.layout import Layout


def notes(folder: Path, tenant: str = "t0") -> ImportNotes:
    return ImportNotes(Layout(folder, TenantId(tenant)), folder / "f.state", folder / "f.errors")


def test_a_state_comes_back_and_says_which_lines_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    status = (tmp_path / "f").stat()
    with notes(tmp_path) as first:
        state = first.read(status)
        state.done, state.beyond, state.left = 10, {12, 14}, {3}
        state.counts.refused = 2
        first.tell(3, "why")
        first.write(state)
    with notes(tmp_path) as second:
        again = second.read(status)
    assert again == state
    assert [line for line in range(1, 17) if again.wants(line)] == [3, 11, 13, 15, 16]
    assert (tmp_path / "f.errors").read_text() == "line 3: why\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "f.errors", "f.state"]
    with notes(tmp_path, "t1") as third, pytest.raises(ConfigError, match="another import"):
        third.read(status)
    (tmp_path / "f").write_bytes(b"xy")
    with notes(tmp_path) as fourth, pytest.raises(ConfigError, match="another import"):
        fourth.read((tmp_path / "f").stat())


def test_notes_that_a_cut_run_left_are_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    status = (tmp_path / "f").stat()
    pending = PendingAccount(Layout(tmp_path, TenantId("t0")), parse_address("a@b.example"))
    pending.write(AccountId(bytes(16)))
    with notes(tmp_path) as cut:
        state = cut.read(status)
        cut.made(pending)
        cut.write(state)
        assert pending.read() is None
        assert pending.name in (tmp_path / "f.state").read_text()
        pending.write(AccountId(bytes(16)))  # as if it had been killed before it removed it
    with notes(tmp_path) as following:
        state = following.read(status)
        assert pending.read() is None
        following.made(pending)
        following.write(state, last=True)
    assert pending.name not in (tmp_path / "f.state").read_text()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"schema": 2}', b"\xff\xfe", b"[" * 100_000, b'{"counts": 1, "schema": 1}']
)
def test_a_file_that_is_no_state_is_left_alone_and_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "f.state").write_bytes(content)
    with notes(tmp_path) as found, pytest.raises(ConfigError, match="no state of an import"):
        found.read((tmp_path / "f").stat())
    assert (tmp_path / "f.state").read_bytes() == content


def test_errors_are_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "f.errors").symlink_to(tmp_path / "elsewhere")
    with notes(tmp_path) as found, pytest.raises(OSError):
        found.tell(1, "why")
    assert (tmp_path / "elsewhere").read_text() == ""
    assert ImportState("t0", 0, 0).wants(1)


LOCK, BAD, END = ReaderLock(("seccomp",), ()), BadLine(1, 2, "why"), FileEnd(1, "csv")


def heard(data: bytes) -> list[Message]:
    async def whole() -> list[Message]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return [message async for message in messages_of(stream)]

    return asyncio.run(whole())


def test_a_reader_is_believed_only_in_its_own_words_and_locked_first() -> None:
    assert heard(b"".join(map(write_frame, (LOCK, BAD, END)))) == [LOCK, BAD, END]
    for wrong in (
        write_frame(BAD),
        write_frame(LOCK) + write_frame(LOCK),
        write_frame(LOCK) + write_frame(BAD)[:-1],
        write_frame(LOCK) + b"\xff\xff\xff\xff",
        write_frame(LOCK) + b"\0\0\0\1x",
    ):
        with pytest.raises(PeerError):
            heard(wrong)
