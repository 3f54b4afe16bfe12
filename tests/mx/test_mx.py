"""mx on a real socket: verdicts, one durable delivery, exact octets, trace."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.gate.cell import DOMAIN, HOSTNAMES, Cell, Client, Test, run_with

from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import new_id

MESSAGE = b"From: a@elsewhere.example\r\nSubject: hello\r\n\r\nLine one\r\n.dotted\r\n\xe3\x81\x82 8-bit\r\n"
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(test: Test, **changes: Any) -> None:
        run_with(test, "mx", ["mx"], **changes)

    return go


async def hello(cell: Cell) -> Client:
    client = await Client.open(cell.ports["mx"])
    await client.expect("EHLO client.example", "250-")
    return client


def test_ehlo_offers_exactly_what_mx_keeps_and_drops_starttls_inside_tls(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await Client.open(cell.ports["mx"])
        lines = (await client.say("EHLO client.example")).split(" / ")
        keywords = ["PIPELINING", "SIZE 36700160", "8BITMIME", "ENHANCEDSTATUSCODES"]
        keywords += ["CHUNKING", "SMTPUTF8", "LIMITS RCPTMAX=100"]
        assert [line[4:] for line in lines] == [HOSTNAMES["mx"], *keywords, "STARTTLS"]
        await client.start_tls(HOSTNAMES["mx"])
        lines = (await client.say("EHLO client.example")).split(" / ")
        assert [line[4:] for line in lines] == [HOSTNAMES["mx"], *keywords]
        await client.expect("AUTH PLAIN AGEAYg==", "502 5.5.1")

    run(test)


def test_each_kind_of_recipient_has_its_reply(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("open")
        cell.closed.add(cell.add("gone").address)
        cell.full.add(cell.add("full").id)
        cell.add("forged", signer=Ed25519PrivateKey.generate())
        swapped = cell.add("swapped")
        swapped.binding = type(swapped.binding)(swapped.id, cell.accounts[f"open@{DOMAIN}"].binding.record)
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250 2.1.0")
        await client.expect(f"RCPT TO:<open@{DOMAIN}>", "250 2.1.5")
        await client.expect(f"RCPT TO:<OPEN@{DOMAIN.upper()}>", "250 2.1.5")
        await client.expect(f"RCPT TO:<nobody@{DOMAIN}>", "550 5.1.1")
        await client.expect("RCPT TO:<a@elsewhere.example>", "550 5.7.1")
        await client.expect(f"RCPT TO:<gone@{DOMAIN}>", "550 5.2.1")
        await client.expect(f"RCPT TO:<full@{DOMAIN}>", "552 5.2.2")
        await client.expect(f"RCPT TO:<forged@{DOMAIN}>", "451 4.3.0")
        await client.expect(f"RCPT TO:<swapped@{DOMAIN}>", "451 4.3.0")
        await client.expect("RCPT TO:<Postmaster>", "550 5.1.1")
        cell.add("postmaster")
        await client.expect("RCPT TO:<Postmaster>", "250 2.1.5")
        cell.directory_failure = TemporaryFailure("away")
        await client.expect(f"RCPT TO:<open@{DOMAIN}>", "451 4.3.0")
        assert cell.attempts == []

    run(test)


def test_the_owner_reads_the_trace_fields_and_then_exactly_the_octets_sent(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)).startswith("250 2.6.0")
        ((address, message),) = cell.messages()
        assert address == f"user@{DOMAIN}"
        trace = message.removesuffix(MESSAGE)
        assert trace + MESSAGE == message
        assert re.fullmatch(
            rb"Return-Path: <a@elsewhere\.example>\r\n"
            rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby mx\.kddi\.example with ESMTP id [0-9a-f]{16}\r\n"
            rb"\tfor <user@kddi\.example>;\r\n"
            rb"\t[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000\r\n",
            trace,
        )

    run(test)


def test_the_trace_tells_tls_and_the_null_reverse_path_and_hides_recipients_from_each_other(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("one"), cell.add("two")
        client = await hello(cell)
        await client.start_tls(HOSTNAMES["mx"])
        await client.expect("EHLO client.example", "250-")
        recipients = [f"one@{DOMAIN}", f"two@{DOMAIN}"]
        assert (await client.deliver("", recipients, MESSAGE)).startswith("250 ")
        assert [address for address, _ in cell.messages()] == recipients
        for _, message in cell.messages():
            assert message.startswith(b"Return-Path: <>\r\n") and b" with ESMTPS " in message
            assert DOMAIN.encode() not in message.partition(b"From:")[0].replace(b"mx.kddi.example", b"")

    run(test)


def test_recipients_of_one_transaction_are_one_request_and_an_account_named_twice_gets_one_copy(run: Run) -> None:
    async def test(cell: Cell) -> None:
        one, two = cell.add("one"), cell.add("two")
        client = await hello(cell)
        names = [f"one@{DOMAIN}", f"two@{DOMAIN}", f"ONE@{DOMAIN}"]
        assert (await client.deliver("a@elsewhere.example", names, MESSAGE)).startswith("250 ")
        assert [delivery.accounts for delivery in cell.deliveries] == [[one.id, two.id]]
        keys = [copy.box for copy in cell.deliveries[0].request.copies]
        assert keys[0] != keys[1]

    run(test)


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (TemporaryFailure("away"), "451 4.3.0"),
        (Refused("full", code="over-quota"), "552 5.2.2"),
        (Refused("gone", code="no-such-account"), "550 5.1.1"),
        (Refused("what", code="unheard-of"), "554 5.0.0"),
        (IntegrityError("bits flipped"), "451 4.3.0"),
    ],
    ids=lambda value: value.code if hasattr(value, "code") else value[:3],
)
def test_what_store_says_no_to_is_refused_and_the_session_goes_on(run: Run, failure: Any, reply: str) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        cell.store_failure = failure
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)).startswith(reply)
        cell.store_failure = None
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)).startswith("250 ")
        assert len(cell.deliveries) == 1

    run(test)


def test_250_leaves_only_after_store_said_done(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        cell.store_gate.clear()
        client = await hello(cell)
        answer = asyncio.create_task(client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE))
        await cell.store_asked.wait()
        await asyncio.sleep(0.2)
        assert not answer.done()
        cell.store_gate.set()
        assert (await answer).startswith("250 2.6.0")

    run(test)


def test_a_store_that_restarts_during_a_delivery_gets_the_same_request_again_and_keeps_one_copy(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        cell.store_gate.clear()
        client = await hello(cell)
        answer = asyncio.create_task(client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE))
        await cell.store_asked.wait()
        cell.store_gate.set()  # the first incarnation commits, and dies before its answer is out
        cell.connect("store")
        assert (await answer).startswith("250 ")
        await asyncio.sleep(0.05)
        assert len(cell.attempts) == 2 and cell.attempts[0] == cell.attempts[1]
        assert len(cell.deliveries) == 1

    run(test)


def test_the_final_dot_is_found_wherever_the_stream_is_cut(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        data = MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        for at in range(0, len(data), 7):
            await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
            await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
            await client.expect("DATA", "354")
            await client.send(data[:at])
            await asyncio.sleep(0.005)
            await client.send(data[at:])
            assert (await client.reply())[0].startswith("250")
        assert all(message.endswith(MESSAGE) for _, message in cell.messages())

    run(test)


def test_a_message_that_passed_more_than_fifty_hops_is_refused(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        hops = b"received: from a by b; today\r\n"
        quoted = MESSAGE + hops * 60
        for count, reply in ((50, "250"), (51, "554 5.4.6")):
            answer = await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], hops * count + quoted)
            assert answer.startswith(reply)

    run(test)


def test_a_header_above_one_mebibyte_is_refused_and_a_long_line_is_not(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        to = [f"user@{DOMAIN}"]
        line = b"X-Padding: " + b"x" * 1011 + b"\r\n"
        for header, reply in ((line * 1023, "250"), (line * 1025, "552 5.3.4")):
            assert (await client.deliver("a@elsewhere.example", to, header + b"\r\nbody\r\n")).startswith(reply)
        long = b"Subject: long\r\n\r\n" + b"y" * 10_000 + b"\r\n"
        assert (await client.deliver("a@elsewhere.example", to, long)).startswith("250")
        assert cell.messages()[-1][1].endswith(long)
        assert (await client.deliver("a@elsewhere.example", to, b"no header at all\r\n")).startswith("250")

    run(test)


@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"end\n.\nQUIT\r\n", b"end\r\n.\nx\r\n"])
def test_a_bare_newline_or_nul_refuses_the_message_and_ends_the_session(run: Run, bad: bytes) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
        await client.expect("DATA", "354")
        await client.send(b"Subject: x\r\n\r\n" + bad + b".\r\nMAIL FROM:<smuggled@x.example>\r\n")
        assert (await client.rest()).startswith(b"554 5.6.0")
        assert cell.attempts == []

    run(test)


def test_a_message_over_the_limit_is_refused_when_announced_and_when_sent(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example> SIZE=65537", "552 5.3.4")
        body = b"Subject: x\r\n\r\n" + b"z" * 998 * 2 + b"\r\n"
        big = body + (b"z" * 998 + b"\r\n") * 70
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], big)).startswith("552 5.3.4")
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], body)).startswith("250")
        assert len(cell.deliveries) == 1

    run(test, message_bytes_max=65536)


def test_more_accounts_than_one_delivery_takes_are_put_off(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        for number in range(100):
            cell.add(f"u{number}")
            await client.expect(f"RCPT TO:<u{number}@{DOMAIN}>", "250")
        cell.add("late")
        await client.expect(f"RCPT TO:<late@{DOMAIN}>", "452 4.5.3")
        await client.expect(f"RCPT TO:<u0@{DOMAIN}>", "250")
        await client.expect("DATA", "354")
        await client.send(MESSAGE + b".\r\n")
        assert (await client.reply())[0].startswith("250")
        assert len(cell.deliveries[0].accounts) == 100

    run(test, recipients_max=200)


def test_a_message_in_chunks_is_durable_with_the_last_and_is_what_was_sent(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        envelope = f"MAIL FROM:<a@elsewhere.example> BODY=8BITMIME\r\nRCPT TO:<user@{DOMAIN}>\r\n".encode()
        await client.send(envelope + b"BDAT 9\r\n" + MESSAGE[:9])
        assert [(await client.reply())[0][:9] for _ in range(3)] == ["250 2.1.0", "250 2.1.5", "250 2.0.0"]
        assert cell.attempts == []
        rest = MESSAGE[9:]
        await client.send(b"BDAT %d LAST\r\n" % len(rest) + rest + b"QUIT\r\n")
        assert [(await client.reply())[0][:9] for _ in range(2)] == ["250 2.6.0", "221 2.0.0"]
        ((_, message),) = cell.messages()
        assert message.endswith(MESSAGE)

    run(test)


def test_a_chunk_that_holds_commands_delivers_nothing_and_obeys_none(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        hidden = f"\n.\nMAIL FROM:<evil@elsewhere.example>\r\nRCPT TO:<user@{DOMAIN}>\r\nBDAT 1 LAST\r\nx".encode()
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
        await client.send(b"BDAT %d LAST\r\n" % len(hidden) + hidden + b"NOOP\r\n")
        assert [(await client.reply())[0][:9] for _ in range(2)] == ["554 5.6.0", "250 2.0.0"]
        assert cell.attempts == []

    run(test)


def test_an_internationalized_recipient_is_found_composed_and_traced(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("caf\u00e9")
        client = await hello(cell)
        await client.expect("MAIL FROM:<\u65e5@elsewhere.example>", "553 5.6.7")
        await client.expect("MAIL FROM:<\u65e5@elsewhere.example> SMTPUTF8", "250 2.1.0")
        await client.expect(f"RCPT TO:<Cafe\u0301@{DOMAIN}>", "250 2.1.5")
        await client.expect("DATA", "354")
        await client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert (await client.reply())[0].startswith("250 2.6.0")
        ((_, message),) = cell.messages()
        assert message.startswith("Return-Path: <\u65e5@elsewhere.example>\r\n".encode())
        assert b" with UTF8SMTP id " in message and f"for <Cafe\u0301@{DOMAIN}>".encode() in message

    run(test)

    run(test)


def test_a_client_reset_or_half_closed_inside_data_leaves_nothing(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        for end in ("reset", "close"):
            client = await hello(cell)
            await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
            await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
            await client.expect("DATA", "354")
            await client.send(MESSAGE)
            await asyncio.sleep(0.02)
            sock = client.writer.get_extra_info("socket")
            if end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
            else:
                client.writer.write_eof()
                assert await client.rest() == b""
        await asyncio.sleep(0.05)
        assert cell.attempts == []

    run(test)


def test_a_client_that_half_closes_behind_its_commands_still_reads_the_replies(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
        await client.expect("DATA", "354")
        cell.store_gate.clear()
        await client.send(MESSAGE + b".\r\nQUIT\r\n")
        client.writer.write_eof()
        await cell.store_asked.wait()
        await asyncio.sleep(0.05)
        cell.store_gate.set()
        assert re.fullmatch(rb"250 [^\r]*\r\n221 [^\r]*\r\n", await client.rest())
        assert len(cell.deliveries) == 1

    run(test)


def test_replies_to_commands_sent_together_leave_together(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        group = f"MAIL FROM:<a@elsewhere.example>\r\nRCPT TO:<user@{DOMAIN}>\r\nRCPT TO:<no@{DOMAIN}>\r\nDATA\r\n"
        await client.send(group.encode())
        got = await client.reader.read(65536)
        assert [line[:3] for line in got.split(b"\r\n")[:-1]] == [b"250", b"250", b"550", b"354"]

    run(test)


def test_the_log_has_neither_addresses_nor_content(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        monkeypatch.setattr("bulkhead.mx.policy.refuse_loop", _fault)
        client = await hello(cell)
        answer = await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)
        assert answer.startswith("421 4.3.0")
        assert await client.rest() == b""

    caplog.set_level("DEBUG")
    run(test)
    assert "fault in a session" in caplog.text and "_fault" in caplog.text
    for secret in ("elsewhere", "user@", "hello", "Line one"):
        assert secret not in caplog.text


def _fault(header: bytes) -> None:
    raise ValueError(f"our bug, with {header!r}")


def test_a_new_transaction_knows_nothing_of_the_last(run: Run) -> None:
    async def test(cell: Cell) -> None:
        one, two = cell.add("one"), cell.add("two")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<one@{DOMAIN}>", "250")
        await client.expect("RSET", "250")
        await client.deliver("b@elsewhere.example", [f"two@{DOMAIN}"], MESSAGE)
        await client.deliver("c@elsewhere.example", [f"one@{DOMAIN}"], MESSAGE)
        assert [delivery.accounts for delivery in cell.deliveries] == [[two.id], [one.id]]
        assert cell.messages()[1][1].startswith(b"Return-Path: <c@elsewhere.example>")

    run(test)


def test_a_store_without_the_account_id_is_never_asked(run: Run) -> None:
    async def test(cell: Cell) -> None:
        account = cell.add("user")
        account.binding = type(account.binding)(new_id(), account.binding.record)
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "451")
        await client.expect("DATA", "554 5.5.1")

    run(test)


def test_a_source_that_sends_too_fast_is_told_to_wait(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        for _ in range(2):
            assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)).startswith("250 ")
        await client.expect("MAIL FROM:<a@elsewhere.example>", "450 4.7.1")
        other = await hello(cell)
        await other.expect("MAIL FROM:<a@elsewhere.example>", "450 4.7.1")

    run(test, messages_per_source_minute=2)


def test_a_source_that_connects_too_often_is_greeted_with_421(run: Run) -> None:
    async def test(cell: Cell) -> None:
        await hello(cell)
        late = await Client.open(cell.ports["mx"], greet=False)
        assert (await late.reply())[0].startswith("421 4.3.2")
        assert await late.rest() == b""

    run(test, connections_per_source_minute=1)


def test_a_source_that_guesses_addresses_is_sent_away_and_then_told_nothing(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        for number in range(50):
            await client.expect(f"RCPT TO:<guess{number}@{DOMAIN}>", "550 5.1.1")
        await client.expect(f"RCPT TO:<another@{DOMAIN}>", "421 4.7.1")
        client = await hello(cell)
        await client.expect("MAIL FROM:<a@elsewhere.example>", "250")
        await client.expect(f"RCPT TO:<guess@{DOMAIN}>", "450 4.7.1")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "450 4.7.1")

    run(test, unknown_per_source_minute=51)


def test_a_connection_takes_as_many_messages_as_it_says(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await Client.open(cell.ports["mx"])
        assert "250-LIMITS MAILMAX=1 RCPTMAX=100" in await client.say("EHLO client.example")
        assert (await client.deliver("a@elsewhere.example", [f"user@{DOMAIN}"], MESSAGE)).startswith("250 ")
        await client.expect("MAIL FROM:<a@elsewhere.example>", "421 4.3.2")

    run(test, messages_per_connection_max=1)
