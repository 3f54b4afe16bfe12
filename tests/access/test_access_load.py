"""Large mailboxes and messages: no step of access holds its loop, memory stays bounded."""

import asyncio
import gc
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_store import Copy, DeliverMail
from bulkhead.gate.delivery import SealedCopy

PLAIN_LOOP = True  # its handles are timed
MESSAGES = 20_000
STEP_SECONDS = 0.020  # CPU of one step, by the issue


@contextmanager
def longest_step(cell: Cell) -> Iterator[list[tuple[float, str]]]:
    """The CPU time of the longest callback on access's loop meanwhile, and what it was."""
    worst: list[tuple[float, str]] = [(0.0, "")]
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # type: ignore[attr-defined]

    def timed(handle: asyncio.Handle) -> None:
        if getattr(handle, "_loop", None) is not cell.front.loop:
            run(handle)
            return
        start = time.thread_time()
        run(handle)
        took = time.thread_time() - start
        if took > worst[0][0]:
            worst[0] = (took, repr(handle))

    gc.collect()
    gc.freeze()  # as the image does before it forks: else the collector walks all that pytest loaded
    asyncio.Handle._run = timed  # type: ignore[attr-defined]
    try:
        yield worst
    finally:
        gc.unfreeze()
        asyncio.Handle._run = run  # type: ignore[attr-defined]


def fill(cell: Cell, account: Account, count: int) -> None:
    """Deliver many small messages in few transactions."""
    sealer = cell.sealer
    binding = sealer.verify(account.binding)

    async def deliver_many() -> None:
        for start in range(0, count, 100):
            copies: list[SealedCopy] = []
            for n in range(start, min(count, start + 100)):
                text = message(f"number {n}", b"some text of message %d\r\n" % n * 3)
                copies.append(sealer.seal_copy(binding, text, await sealer.summarize(text), 1_700_000_000 + n))
            rows: tuple[Copy, ...] = tuple(copy.row for copy in copies)
            body = b"".join(piece for copy in copies for piece in copy.pieces())
            request = DeliverMail(Stamp.fresh("mx", request_id=secrets.token_bytes(16)), rows)
            await cell.exchanges["mx"].to("store").call(request, body)

    cell.holders.run(deliver_many(), timeout=100)


@pytest.fixture(scope="module")
def large(cell: Cell) -> Account:
    account = cell.add_account()
    fill(cell, account, MESSAGES)
    return account


@pytest.fixture(scope="module")
def raw(cell: Cell, large: Account) -> Raw:
    raw = cell.raw(large)
    with longest_step(cell) as worst:
        raw.command("SELECT INBOX")
        cell.wait_filed(large)
    assert worst[0][0] < STEP_SECONDS, worst
    return raw


COMMANDS = [
    ("FETCH 1:* (FLAGS)", MESSAGES),
    ("UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)", MESSAGES),
    ("FETCH 1:* (UID FLAGS ENVELOPE)", MESSAGES),
    ("FETCH 1:* (BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])", MESSAGES),
    ("FETCH 1:2000 (BODY.PEEK[])", 2000),
    ('SEARCH SUBJECT "number 1999"', 1),
    ('SEARCH 1:3000 BODY "message 2999"', 1),
    ("SEARCH UNSEEN LARGER 10 SINCE 1-Jan-2020", 1),
    ('UID SEARCH RETURN (ALL COUNT) NOT SUBJECT "7"', 1),
    ("STORE 1:* +FLAGS.SILENT ($Many)", 0),
    ("STORE 1:* +FLAGS (\\Seen)", MESSAGES),
    ("COPY 1:* Archive", 0),
]


@pytest.mark.parametrize(("command", "lines"), COMMANDS)
def test_no_step_on_a_mailbox_of_20000_messages_holds_the_loop(cell: Cell, raw: Raw, command: str, lines: int) -> None:
    with longest_step(cell) as worst:
        started = time.perf_counter()
        found = raw.command(command)
        took = time.perf_counter() - started
    assert b" OK " in found[-1]
    assert len(found) - 1 >= lines
    print(f"{command}: {took:.2f} s, longest step {worst[0][0] * 1000:.1f} ms")
    assert worst[0][0] < STEP_SECONDS, worst


def test_another_session_is_told_of_20000_changes_without_a_long_step(cell: Cell, large: Account, raw: Raw) -> None:
    other = cell.raw(large)
    other.command("SELECT INBOX")
    raw.command("STORE 1:* FLAGS.SILENT (\\Deleted)")
    with longest_step(cell) as worst:
        assert len(other.command("NOOP")) >= MESSAGES
        raw.command("EXPUNGE")
        assert sum(b"EXPUNGE\r\n" in line for line in other.command("NOOP")) == MESSAGES
    assert worst[0][0] < STEP_SECONDS, worst


def test_a_search_in_a_large_japanese_body_takes_no_long_step(cell: Cell, account: Account) -> None:
    body = ("これは長い本文です。" * 3 + "\r\n").encode("iso-2022-jp") * 40_000 + "終わり\r\n".encode("iso-2022-jp")
    cell.deliver(account, message("long", body, b"Content-Type: text/plain; charset=iso-2022-jp\r\n"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account)
    needle = "終わり".encode()
    with longest_step(cell) as worst:
        raw.send(b"S SEARCH BODY {%d+}\r\n%s\r\n" % (len(needle), needle))
        assert raw.until(b"S ")[0] == b"* SEARCH 1\r\n"
    assert worst[0][0] < STEP_SECONDS, worst


def test_a_message_of_50_mb_goes_in_and_out_in_bounded_memory(cell: Cell, account: Account) -> None:
    text = message("huge", secrets.token_bytes(1 << 20).hex().encode() * 25)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    with longest_step(cell) as worst:
        raw.send(b"A APPEND INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
        assert raw.until(b"A ")[-1].startswith(b"A OK")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        raw.send(b"B FETCH 1 BODY.PEEK[]\r\n")
        first = raw.file.readline()
        size = int(first[first.index(b"{") + 1 : first.index(b"}")])
        assert size == len(text)
        at = 0
        while at < size:
            piece = raw.file.read(min(65536, size - at))
            assert piece == text[at : at + len(piece)]
            at += len(piece)
        assert raw.until(b"B ")[-1].startswith(b"B OK")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 16 * 1024, f"{grown} KiB more"
    assert worst[0][0] < STEP_SECONDS, worst
