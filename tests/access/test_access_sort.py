"""SORT, THREAD, saved results and windows, over a running cell."""

import re

import pytest
from tests.access.cell import Account, Cell, Raw


def mail(
    n: int, subject: str, *, sender: str = "a@example.org", date: str = "", extra: str = "", size: int = 1
) -> bytes:
    header = f"From: {sender}\r\nTo: b@stnet.example\r\nSubject: {subject}\r\nMessage-ID: <{n}@t.example>\r\n"
    if date:
        header += f"Date: {date}\r\n"
    return (header + extra + "\r\n" + "x" * size + "\r\n").encode()


@pytest.fixture(scope="module")
def raw(cell: Cell) -> Raw:
    account = cell.add_account()
    long_list = ", ".join(f"u{n}@list.example" for n in range(1500))  # does not fit a summary
    mails = [
        mail(1, "Zebra", sender="Carol <zed@example.org>", date="Tue, 14 Nov 2023 10:00:00 +0900", size=30),
        mail(2, "Re: apple", sender="=?UTF-8?B?44GC44GE?= <foo..bar@docomo.ne.jp>",
             extra="References: <4@t.example>\r\n", date="Tue, 14 Nov 2023 01:00:01 +0000", size=20),
        mail(3, "=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=", sender="foo.@ezweb.ne.jp", date="nonsense", size=10),
        mail(4, "[list] apple", sender="Bob <m@example.org>", date="Mon, 13 Nov 2023 23:00:00 -0500",
             extra=f"Cc: {long_list}\r\n"),
    ]  # fmt: skip
    for n, one in enumerate(mails):
        cell.deliver(account, one, date=1_700_000_000 - 1000 * n)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    return raw


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("ARRIVAL", "4 3 2 1"), ("REVERSE ARRIVAL", "1 2 3 4"), ("SUBJECT", "2 4 1 3"), ("REVERSE SUBJECT", "3 1 2 4"),
        ("SIZE", "3 1 2 4"), ("DATE", "1 2 4 3"), ("FROM", "3 2 4 1"), ("CC", "1 2 3 4"), ("REVERSE CC", "4 1 2 3"),
        ("TO", "1 2 3 4"), ("DISPLAYFROM", "4 1 3 2"), ("DISPLAYTO REVERSE SIZE", "4 2 1 3"),
        ("SUBJECT REVERSE DATE", "4 2 1 3"),
    ],
)  # fmt: skip
def test_sort_orders_as_the_standard_says(raw: Raw, keys: str, found: str) -> None:
    lines = raw.command(f"SORT ({keys}) UTF-8 ALL")
    assert lines[0].decode().split()[2:] == found.split() and b"OK SORT completed" in lines[-1]
    assert raw.command(f"UID SORT ({keys}) US-ASCII 1:*")[0].decode().split()[2:] == found.split()


def test_sort_tells_windows_and_ends_in_its_order(raw: Raw) -> None:
    line = raw.command("SORT RETURN (MIN MAX ALL COUNT) (SUBJECT) UTF-8 ALL")[0]
    assert line.endswith(b") MIN 2 MAX 3 COUNT 4 ALL 2,4,1,3\r\n")
    assert raw.command("SORT RETURN (ALL) (REVERSE ARRIVAL) UTF-8 ALL")[0].endswith(b") ALL 1:4\r\n")
    assert raw.command("UID SORT RETURN (PARTIAL 2:3) (SIZE) UTF-8 ALL")[0].endswith(b") UID PARTIAL (2:3 1:2)\r\n")
    assert raw.command("SORT (SIZE) UTF-8 LARGER 99999999")[0] == b"* SORT\r\n"
    assert b"MODSEQ" in raw.command("SORT (SIZE) UTF-8 MODSEQ 1")[0]


def test_threads_are_told_by_number_and_by_uid(raw: Raw) -> None:
    assert raw.command("THREAD REFERENCES UTF-8 ALL")[0] == b"* THREAD (1)(4 2)(3)\r\n"
    assert raw.command("UID THREAD REFERENCES UTF-8 1,3:4")[0] == b"* THREAD (1)(4)(3)\r\n"
    assert raw.command("THREAD ORDEREDSUBJECT UTF-8 ALL")[0] == b"* THREAD (1)(2 4)(3)\r\n"
    assert raw.command("THREAD REFERENCES UTF-8 LARGER 99999999")[0] == b"* THREAD\r\n"


def test_what_cannot_be_sorted_or_threaded_is_refused(raw: Raw) -> None:
    assert b" NO [BADCHARSET (" in raw.command("SORT (DATE) KLINGON ALL")[-1]
    assert b" BAD " in raw.command("THREAD REFS UTF-8 ALL")[-1]
    assert b" BAD " in raw.command("SORT (COLOUR) UTF-8 ALL")[-1]


def test_search_tells_a_window_of_its_result(raw: Raw) -> None:
    assert raw.command("UID SEARCH RETURN (PARTIAL -1:-2 COUNT) ALL")[0].endswith(
        b" UID COUNT 4 PARTIAL (-1:-2 3:4)\r\n"
    )
    assert raw.command("SEARCH RETURN (PARTIAL 9:10) ALL")[0].endswith(b" PARTIAL (9:10 NIL)\r\n")


def test_search_finds_by_age_and_by_email_id(raw: Raw) -> None:
    email = re.findall(rb"EMAILID \(([^)]+)\)", b"".join(raw.command("FETCH 3 EMAILID")))[0]
    assert raw.command(b"SEARCH EMAILID " + email)[0] == b"* SEARCH 3\r\n"
    assert raw.command("SEARCH THREADID x")[0] == b"* SEARCH\r\n"
    assert raw.command("SEARCH YOUNGER 60")[0] == b"* SEARCH\r\n"
    assert raw.command("SEARCH OLDER 60")[0] == b"* SEARCH 1 2 3 4\r\n"


@pytest.fixture
def saving(cell: Cell, account: Account) -> Raw:
    cell.deliver(account, *(mail(n, f"s{n}") for n in range(1, 6)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    return raw


def kept(raw: Raw) -> list[int]:
    return [int(n) for n in raw.command("UID SEARCH UID $")[0].split()[2:]]


def test_a_saved_result_is_not_told_and_can_be_used_everywhere(saving: Raw) -> None:
    assert kept(saving) == []
    assert saving.command("SEARCH RETURN (SAVE) OR SUBJECT s2 SUBJECT s4")[:-1] == []
    assert kept(saving) == [2, 4]
    assert [line.split()[1] for line in saving.command("FETCH $ UID")[:-1]] == [b"2", b"4"]
    assert [line.split()[1] for line in saving.command("UID FETCH $ FLAGS")[:-1]] == [b"2", b"4"]
    assert saving.command("SEARCH $ SUBJECT s4")[0] == b"* SEARCH 4\r\n"
    assert saving.command("SEARCH NOT $")[0] == b"* SEARCH 1 3 5\r\n"
    assert saving.command("SORT (REVERSE ARRIVAL SUBJECT) UTF-8 $")[0] == b"* SORT 2 4\r\n"
    assert saving.command("THREAD REFERENCES UTF-8 $")[0] == b"* THREAD (2)(4)\r\n"
    assert b"COPYUID" in saving.command("COPY $ Trash")[-1]
    saving.command("STORE $ +FLAGS (\\Flagged)")
    assert saving.command("SEARCH FLAGGED")[0] == b"* SEARCH 2 4\r\n"
    assert saving.command("SEARCH RETURN (SAVE MIN) ALL")[0].endswith(b" MIN 1\r\n") and kept(saving) == [1]
    assert saving.command("SEARCH RETURN (SAVE) SUBJECT nothing")[:-1] == [] and kept(saving) == []
    assert b" OK " in saving.command("FETCH $ UID")[-1] and b" OK " in saving.command("COPY $ Trash")[-1]


def test_an_expunged_message_leaves_the_saved_result(saving: Raw) -> None:
    saving.command("SEARCH RETURN (SAVE) UID 2:4")
    saving.command("STORE 3 +FLAGS (\\Deleted)")
    saving.command("EXPUNGE")
    assert kept(saving) == [2, 4]
    assert [line.split()[1] for line in saving.command("FETCH $ UID")[:-1]] == [b"2", b"3"]
    saving.command("STORE $ +FLAGS.SILENT (\\Deleted)")
    saving.command("UID EXPUNGE $")
    assert kept(saving) == [] and saving.command("SEARCH ALL")[0] == b"* SEARCH 1 2\r\n"


def test_a_failed_search_empties_what_was_saved_and_a_bad_one_does_not(saving: Raw) -> None:
    saving.command("SEARCH RETURN (SAVE) 1:2")
    assert b" BAD " in saving.command("SEARCH RETURN (SAVE) FOO")[-1] and kept(saving) == [1, 2]
    assert b" NO [BADCHARSET" in saving.command("SEARCH CHARSET KLINGON ALL")[-1] and kept(saving) == [1, 2]
    assert b" NO [BADCHARSET" in saving.command("SEARCH RETURN (SAVE) CHARSET KLINGON ALL")[-1] and kept(saving) == []
    saving.command("SEARCH RETURN (SAVE) 1:2")
    saving.command("SELECT INBOX")
    assert kept(saving) == []


def test_a_saved_result_is_there_for_the_next_command_of_a_pipeline(saving: Raw) -> None:
    saving.send(b"A SEARCH RETURN (SAVE COUNT) 2:3\r\nB FETCH $ UID\r\n")
    lines = saving.until(b"B ")
    assert lines[0] == b'* ESEARCH (TAG "A") COUNT 2\r\n' and [line.split()[1] for line in lines[2:4]] == [b"2", b"3"]


def test_a_header_is_searched_across_its_folds_whatever_else_stands_in_it(cell: Cell, account: Account) -> None:
    cell.deliver(account, mail(1, "one\r\n two", extra="X-Note: deep\r\n\tsea\r\n"))
    cell.deliver(account, mail(2, "one\r\n two =?UTF-8?B?44GC?=", extra="X-Note: deep\r\n\tsea\r\n"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    for text in (
        'TEXT "one two"',
        'TEXT "deep\tsea"',
        "TEXT X-Note:",
        'HEADER X-Note "deep\tsea"',
        'SUBJECT "one two"',
    ):
        assert raw.command(f"SEARCH {text}")[0] == b"* SEARCH 1 2\r\n", text


def test_bodies_are_read_many_at_a_time(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(mail(n, f"s{n}") for n in range(1, 40)))
    cell.deliver(account, mail(40, "large", size=200_000), mail(41, "last", extra="X-Word: needle\r\n"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    with cell.sending() as requests:
        assert raw.command("SEARCH BODY nothing")[0] == b"* SEARCH\r\n"
        assert raw.command("SEARCH TEXT needle")[0] == b"* SEARCH 41\r\n"
    reads = [type(request).__name__ for request in requests if type(request).__name__ in ("ReadPart", "ReadMessages")]
    assert reads.count("ReadMessages") == 2 and reads.count("ReadPart") <= 3


def test_what_sort_saves_is_a_set(saving: Raw) -> None:
    assert saving.command("SORT RETURN (SAVE) (REVERSE ARRIVAL REVERSE SUBJECT) UTF-8 2:4")[:-1] == []
    assert kept(saving) == [2, 3, 4]
    assert saving.command("SORT RETURN (SAVE MIN) (REVERSE SUBJECT) UTF-8 2:4")[0].endswith(b" MIN 4\r\n")
    assert kept(saving) == [4]


def test_keys_that_would_fill_the_memory_are_refused_and_the_session_goes_on(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr("bulkhead.access.sort.KEYS_BYTES_MAX", 40)
        assert b"NO [LIMIT]" in raw.command("SORT (SUBJECT) UTF-8 ALL")[-1]
    assert raw.command("SORT (SUBJECT) UTF-8 ALL")[0] == b"* SORT 2 4 1 3\r\n"


def test_of_very_many_references_each_message_keeps_its_parent(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = raw.command("THREAD REFERENCES UTF-8 ALL")[0]
    monkeypatch.setattr("bulkhead.access.sort.REFERENCES_MAX", 0)
    assert raw.command("THREAD REFERENCES UTF-8 ALL")[0] == whole
