"""What reading mail reads: the cheapest part that has the answer, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.access import filing
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.to_store import Part

MESSAGES = 5
CHUNK = 65536


@pytest.fixture(scope="module", autouse=True)
def unhurried() -> Iterator[None]:
    """No filing but at SELECT, however long a test takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filing, "SETTLE_SECONDS", 3600.0)
        yield


@pytest.fixture(scope="module", params=["arrived", "filed"])
def reader(request: pytest.FixtureRequest, cell: Cell) -> Raw:
    """A session on a mailbox with five small messages and a large one, filed or not."""
    account = cell.add_account()
    text = [message(f"number {n}", b"body\r\n" * 50, b"X-Custom: yes\r\n") for n in range(MESSAGES)]
    text.append(message("large", b"".join(b"%063d\n" % n for n in range(10_000))))
    cell.deliver(account, *text)
    if request.param == "filed":
        file_inbox(cell, account)
        assert cell.raw(account).command("SELECT INBOX")
        return selected(cell, account, filed=True)
    return selected(cell, account, filed=False)


def selected(cell: Cell, account: Account, *, filed: bool) -> Raw:
    """EXAMINE files as well, so an unfiled mailbox is read by a session whose filing is held back."""
    raw = cell.raw(account)
    if not filed:
        original, filing.Filing.begin = filing.Filing.begin, lambda *args, **named: None  # type: ignore[method-assign]
        try:
            raw.command("SELECT INBOX")
        finally:
            filing.Filing.begin = original  # type: ignore[method-assign]
    else:
        raw.command("SELECT INBOX")
    return raw


def file_inbox(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account)
    raw.command("LOGOUT")


def reads(requests: list[Any]) -> Counter[str]:
    """Parts and pages read."""
    found: Counter[str] = Counter()
    names = {Part.SUMMARY: "summary", Part.HEADER: "header", Part.BODY: "body"}
    for request in requests:
        if isinstance(request, to_store.ReadPart):
            found[names[request.part]] += 1
        elif isinstance(request, to_store.ReadParts):
            found[names[request.part]] += len(request.emails)
        elif isinstance(request, to_store.ReadMessages):
            found["whole"] += len(request.emails)
        elif isinstance(request, to_store.ReadPages):
            found["page"] += len(request.pages)
    return found


def reading(cell: Cell, raw: Raw, command: str) -> Counter[str]:
    before = cell.counts().reads
    with cell.sending() as sent:
        assert b" OK " in raw.command(command)[-1]
    found = reads(sent)
    assert cell.counts().reads - before == sum(found.values())
    return found


@pytest.mark.parametrize(
    "items", ["FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "FAST", "(UID FLAGS RFC822.SIZE INTERNALDATE)", "EMAILID"]
)
def test_what_arrays_know_reads_no_part_and_no_page(cell: Cell, reader: Raw, items: str) -> None:
    assert reading(cell, reader, f"FETCH 1:* {items}") == {}


@pytest.mark.parametrize(
    "items", ["ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY.PEEK[HEADER.FIELDS (From To Subject Date Message-ID)]"]
)
def test_what_summaries_know_reads_nothing_else(cell: Cell, reader: Raw, items: str) -> None:
    found = reading(cell, reader, f"FETCH 1:* {items}")
    assert set(found) <= {"summary", "page"}
    assert sum(found.values()) <= MESSAGES + 1


def test_a_filed_mailbox_is_listed_from_its_page_alone(cell: Cell) -> None:
    account = cell.add_account()
    cell.deliver(account, *(message(f"{n}") for n in range(20)))
    file_inbox(cell, account)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    assert reading(cell, raw, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)") == {"page": 1}
    assert reading(cell, raw, "FETCH 1:* ENVELOPE") == {}  # the page is kept


def test_the_header_comes_from_the_header_part_alone(cell: Cell, reader: Raw) -> None:
    assert reading(cell, reader, "FETCH 1:* BODY.PEEK[HEADER]") == {"header": MESSAGES + 1}
    assert reading(cell, reader, "FETCH 2 RFC822.HEADER") == {"header": 1}
    found = reading(cell, reader, "FETCH 1 BODY.PEEK[HEADER.FIELDS (X-Custom)]")
    assert found["header"] == 1 and found["body"] == 0


def test_a_whole_message_reads_its_header_and_body_once(cell: Cell, reader: Raw) -> None:
    assert reading(cell, reader, "FETCH 1 BODY.PEEK[]") == {"whole": 1}
    assert reading(cell, reader, "FETCH 1:5 BODY.PEEK[]") == {"whole": 5}
    assert reading(cell, reader, "FETCH 6 BODY.PEEK[]") == {"header": 1, "body": 1}
    assert reading(cell, reader, "FETCH 1 BODY.PEEK[TEXT]") == {"body": 1}


def test_a_partial_fetch_reads_only_the_chunks_it_needs(cell: Cell, reader: Raw) -> None:
    with cell.sending() as sent:
        reader.command("FETCH 6 BODY.PEEK[TEXT]<70000.10>")
    (part,) = [request for request in sent if isinstance(request, to_store.ReadPart)]
    assert (part.part, part.length) == (Part.BODY, CHUNK + 16)
    assert part.offset > CHUNK
    assert reading(cell, reader, "FETCH 6 BODY.PEEK[]<0.10>") == {"header": 1}
    assert reading(cell, reader, "FETCH 6 BODY.PEEK[]<400000.10>") == {"body": 1}


def test_a_search_reads_no_further_than_it_must(cell: Cell, reader: Raw) -> None:
    assert reading(cell, reader, "SEARCH UNSEEN LARGER 10 SINCE 1-Jan-2020") == {}
    assert reading(cell, reader, "SEARCH OR ALL BODY x") == {}
    assert set(reading(cell, reader, "SEARCH SUBJECT large")) <= {"summary", "page"}
    found = reading(cell, reader, "SEARCH SUBJECT large BODY nothing")
    assert found["body"] == 1 and found["header"] == 0
    assert reading(cell, reader, "SEARCH HEADER X-Custom yes")["body"] == 0


def test_top_without_lines_reads_no_body(cell: Cell) -> None:
    account = cell.add_account()
    cell.deliver(account, message(body=b"line\r\n" * 30_000))
    pop = cell.pop(account)
    before = cell.counts().reads
    with cell.sending() as sent:
        lines = pop.top(1, 0)[1]
    assert reads(sent) == {"header": 1}
    assert cell.counts().reads - before == 1
    assert lines[-1] == b""
    with cell.sending() as sent:
        pop.stat(), pop.list(), pop.uidl()
    assert reads(sent) == {}
