"""Lists, names and mbox files of another server: what they say is read, and nothing that they hold does harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.exports.maildir import folder_directory
from bulkhead.imports.mail_reader import letter_of
from bulkhead.imports.mail_rows import Bad, Letter
from bulkhead.imports.maildir import (
    UidHead,
    UidLine,
    file_flags,
    folder_name,
    read_keywords,
    read_subscriptions,
    read_uidlist,
)
from bulkhead.imports.mbox import Dialect, MboxLetter, MboxSplitter

MBOX = (
    b"From MAILER-DAEMON Sun Sep  9 01:46:41 2001\nX-IMAP: 0000000007 0000000040\nSubject: one\nStatus: RO\n"
    b"X-Status: AF\nX-Keywords: Later $Forwarded\nX-UID: 12\n\n>From the start\n>>From twice\nFrom here on\n\n"
    b"From a@b.example Sun Sep  9 01:46:42 2001\r\nSubject: two\r\n\r\ntext\r\n\r\n"
    b"From a@b.example Sun Sep  9 01:46:43 2001\nSubject: three\n\nlast\n\n"
)


def letters(data: bytes, cut: int = 1 << 30, dialect: Dialect = Dialect.RD) -> list[MboxLetter]:
    splitter = MboxSplitter(dialect)
    found = [*splitter.receive(data[:cut]), *splitter.receive(data[cut:]), *splitter.end()]
    assert all(isinstance(letter, MboxLetter) for letter in found)
    return found  # type: ignore[return-value]


def test_an_mbox_gives_its_messages_flags_uids_and_times_back() -> None:
    one, two, three = letters(MBOX)
    assert one.octets == b"Subject: one\n\nFrom the start\n>From twice\nFrom here on\n"
    assert (one.flags, one.keywords, one.uid) == (1 | 2 | 4, ("Later", "$Forwarded"), 12)
    assert (one.uid_validity, one.uid_last, one.date) == (7, 40, 1_000_000_001)
    assert two.octets == b"Subject: two\r\n\r\ntext\r\n" and three.octets == b"Subject: three\n\nlast\n"
    assert letters(MBOX, dialect=Dialect.O)[0].octets.count(b">>From twice") == 1


def test_messages_of_an_mbox_do_not_depend_on_how_it_is_split() -> None:
    whole = letters(MBOX)
    for cut in range(len(MBOX)):
        assert letters(MBOX, cut) == whole


@given(st.binary(max_size=300))
def test_an_mbox_of_any_octets_gives_messages_or_none(data: bytes) -> None:
    letters(data)
    letters(b"From x 00:00 2001\n" + data)


@pytest.mark.parametrize(
    ("directory", "name"),
    [(b".Sent", "Sent"), (b".a.b", "a/b"), (b".&U,BTFw-", "台北"), (b".a%2eb", "a.b"), (b".a%2fb", None), (b".", None),
     (b".a..b", None), (b".x%00y", None), (b".%2e%2e", ".."), (b".inbox.x", "INBOX/x"), (b"." + b"x" * 2000, None)],
)  # fmt: skip
def test_a_directory_names_a_mailbox_or_none(directory: bytes, name: str | None) -> None:
    assert folder_name(directory) == name


@given(st.lists(st.text(st.characters(exclude_characters="/%*", exclude_categories=("Cc", "Cs", "Zl", "Zp")),
                        min_size=1, max_size=20), min_size=1, max_size=4))  # fmt: skip
def test_a_folder_that_our_export_wrote_has_its_name_again(levels: list[str]) -> None:
    name = "/".join(levels)
    if levels[0].upper() == "INBOX":
        return
    directory = folder_directory(name)
    if "%~" not in directory:
        assert folder_name(directory.encode()) == name


@given(st.binary(max_size=300))
def test_lists_of_any_octets_are_read(data: bytes) -> None:
    folder_name(data)
    file_flags(data, ("a",) * 26)
    read_keywords(data)
    read_subscriptions(data)
    list(read_uidlist(data))
    list(read_uidlist(b"3 V1 N2\n" + data))


def test_a_list_of_uids_gives_each_file_its_uid_and_unique_id() -> None:
    text = b"3 V7 N9 Gx\n1 P0001 W5 :a.b\n3 :c,S=1:2,S\n2 :later\n4 P\xff :d\n5 :../e\n"
    assert list(read_uidlist(text)) == [
        UidHead(7, 9), UidLine(1, b"a.b", "0001"), UidLine(3, b"c,S=1", ""), UidLine(4, b"d", ""),
    ]  # fmt: skip
    assert list(read_uidlist(b"1 7 9\n1 x\n")) == [UidHead(7, 9), UidLine(1, b"x", "")]


def test_letters_of_a_file_are_flags_and_keywords() -> None:
    words = read_keywords(b"0 Later\n1 bad(word\n25 z\n26 none\n")
    assert file_flags(b"x:2,FSabzP", words) == (1 | 4, ("Later", "z", "$Forwarded"))
    assert file_flags(b"x", words) == (0, ())


def test_a_message_gets_line_ends_and_one_with_nul_is_refused() -> None:
    letter, octets = letter_of(b"Subject: x\r\n\na\nb\r\n", 1, ())
    assert isinstance(letter, Letter) and octets == b"Subject: x\r\n\r\na\r\nb\r\n" and letter.header_size == 14
    assert isinstance(letter_of(b"a\0b", 0, ())[0], Bad) and isinstance(letter_of(b"\n", 0, ())[0], Bad)
