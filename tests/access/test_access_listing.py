"""Listings made a page at a time tell the same of each message as one made message by message."""

import re

import pytest
from tests.access.cell import Account, Cell, Raw, message

ASKED = (
    "UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ ENVELOPE BODY BODYSTRUCTURE"
    " BODY.PEEK[HEADER.FIELDS (From SUBJECT date X-None)] BODY.PEEK[HEADER.FIELDS (Message-ID)]"
)
LISTED = ASKED.replace(" X-None", "")


def listing(raw: Raw, items: str) -> list[bytes]:
    """Each message's response, whole."""
    answer = raw.command(f"FETCH 1:* ({items})")
    assert b" OK " in answer[-1]
    return re.split(rb"(?m)(?=^\* \d+ FETCH )", b"".join(answer[:-1]))[1:]


@pytest.fixture
def filled(cell: Cell, account: Account) -> Raw:
    """A mailbox of thirty filed messages, some with flags, one expunged, and three that are not filed."""
    texts = [message(f"number {n} % percent", b"body\r\n" * n, b"X-Custom: yes\r\n") for n in range(31)]
    cell.deliver(account, *texts)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account)
    raw.command("STORE 3:7 +FLAGS (\\Seen custom)")
    raw.command("STORE 5 +FLAGS (\\Deleted)")
    raw.command("EXPUNGE")
    raw.command("LOGOUT")
    cell.deliver(account, *(message(f"late {n}") for n in range(3)))
    return cell.raw(account)


def test_a_listing_is_the_same_page_by_page_and_one_by_one(filled: Raw) -> None:
    filled.command("EXAMINE INBOX")
    quick = listing(filled, LISTED)
    slow = [re.sub(rb"EMAILID \([^)]+\) ", b"", line) for line in listing(filled, f"EMAILID {LISTED}")]
    assert sorted(quick) == sorted(slow)
    assert len(quick) == 33


def test_fields_that_no_summary_has_are_read_from_the_header(filled: Raw) -> None:
    filled.command("EXAMINE INBOX")
    lines = listing(filled, ASKED.replace("X-None", "X-Custom"))
    assert len(lines) == 33
    assert sum(b"X-Custom: yes\r\n" in line for line in lines) == 30


def test_a_message_expunged_elsewhere_is_left_out_of_a_listing(cell: Cell, account: Account, filled: Raw) -> None:
    filled.command("SELECT INBOX")
    other = cell.raw(account)
    other.command("SELECT INBOX")
    other.command("STORE 4 +FLAGS (\\Deleted)")
    other.command("EXPUNGE")
    answer = filled.command("FETCH 1:* (UID ENVELOPE)")
    assert sum(b" FETCH (" in line for line in answer) == 32
    assert b"OK [EXPUNGEISSUED]" in answer[-1]


def test_a_search_of_a_filed_folder_finds_what_one_message_by_message_finds(cell: Cell, account: Account) -> None:
    subjects = [f"number {n}" for n in range(70)] + [
        "=?utf-8?b?5pel5pys6Kqe?= number",
        "日本語 number",
        'a "quoted" number',
    ]
    cell.deliver(account, *(message(subject, b"body\r\n") for subject in subjects))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account)
    sevens = [number for number, subject in enumerate(subjects[:70], 1) if "7" in subject]
    for key, found in {
        "SUBJECT 7": sevens,
        "SUBJECT number": list(range(1, 74)),
        "SUBJECT quoted": [73],
        "NOT SUBJECT number": [],
        'OR SUBJECT quoted SUBJECT "number 12"': [13, 73],
        "SUBJECT quoted BODY absent": [],
        "HEADER X-Absent x": [],
    }.items():
        answer = raw.command(f"SEARCH {key}")[0].split()[2:]
        assert [int(number) for number in answer] == found, key
