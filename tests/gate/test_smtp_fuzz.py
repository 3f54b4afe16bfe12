"""The whole SMTP session over a connection in memory: whatever comes in, it ends cleanly and logs no fault."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.gate.budget import Budget
from bulkhead.gate.message import MessageText
from bulkhead.gate.smtp import SmtpSession
from bulkhead.identifiers import DomainName
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.smtp_states import Role

ROOM = 4096


@dataclass
class MemoryConnection:
    """What a session asks of gate.connection.Connection; reads give the pieces in turn, then the end."""

    pieces: list[bytes]
    secure: bool = False
    source: str = "192.0.2.1"
    written: bytearray = field(default_factory=bytearray)
    closed: bool = False
    buffered: bool = False

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    async def start_tls(self, context: object) -> None:
        self.secure = True

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def pause(self) -> None:
        pass

    touch = keep_pace = pause


class AnyPolicy:
    """Says yes and no by turns, in every way a policy may."""

    answers = (None, None, Refused("no", code="over-quota"), None, TemporaryFailure("away"), IntegrityError("bad"))

    def __init__(self) -> None:
        self.turn = 0
        self.messages: list[bytes] = []
        self.left = False

    async def decide(self, *what: Any) -> None:
        self.turn += 1
        answer = self.answers[self.turn % len(self.answers)]
        if answer is not None:
            raise answer

    mail = recipient = login = decide

    async def hello(self, name: str, extended: bool) -> None:
        pass

    async def message(self, text: MessageText) -> str:
        await self.decide()
        text.header()
        self.messages.append(await text.join(b""))
        return "Taken"

    def reset(self) -> None:
        pass

    async def leave(self) -> None:
        self.left = True


class NoContext:
    context = None


def converse(pieces: list[bytes], role: Role, *, tls: bool) -> tuple[MemoryConnection, AnyPolicy]:
    connection, policy, budget = MemoryConnection([piece for piece in pieces if piece]), AnyPolicy(), Budget(ROOM)
    receiver = SmtpReceiver(
        DomainName("mx.kddi.example"),
        role,
        tls_active=tls,
        tls_offered=True,
        mechanisms=("PLAIN", "LOGIN") if role is Role.SUBMISSION else (),
        limits=Limits(message_bytes=8192, inbox_bytes=65536),
    )
    session: Any = SmtpSession(connection, receiver, policy, NoContext(), budget)  # type: ignore[arg-type]
    asyncio.run(session.run())
    assert connection.closed and policy.left
    assert budget._left == ROOM
    replies = connection.written.split(b"\r\n")
    assert replies.pop() == b""
    assert all(len(line) <= 510 and line[:3].isdigit() and line[3:4] in (b" ", b"-") for line in replies)
    assert all(b"\r" not in line and b"\n" not in line for line in replies)
    return connection, policy


COMMANDS = st.sampled_from(
    [
        b"EHLO client.example\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<>\r\n",
        b"RCPT TO:<u@kddi.example>\r\n", b"RCPT TO:<Postmaster>\r\n", b"DATA\r\n", b"Subject: x\r\n\r\nbody\r\n",
        b"BDAT 3\r\nx\r\n", b"BDAT 5000\r\n", b"BDAT 0 LAST\r\n", b"BDAT 7 LAST\r\nx: y\r\n\r\n", b"BDAT\r\n",
        b".\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"AUTH LOGIN\r\n",
        b"AUTH PLAIN\r\n", b"AGEAYg==\r\n", b"*\r\n", b"BDAT 3 LAST\r\nabc", b"VRFY x\r\n", b"x" * 3000 + b"\r\n",
        b"y" * 5000 + b"\r\n", b"\n", b"\r", b"\0", b".\n", b"\xff\xfe\r\n", b"MAIL FROM:<a@b> SIZE=99999999\r\n",
    ]
)  # fmt: skip
TALK = st.lists(st.one_of(COMMANDS, st.binary(max_size=40)), max_size=40)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(pieces=TALK, role=st.sampled_from(Role), tls=st.booleans())
def test_any_mix_of_commands_and_octets_ends_cleanly(
    caplog: pytest.LogCaptureFixture, pieces: list[bytes], role: Role, tls: bool
) -> None:
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        converse(pieces, role, tls=tls)
    assert not [record for record in caplog.records if record.name != "asyncio"]


@settings(max_examples=60, deadline=None)
@given(pieces=TALK, cut=st.integers(1, 60))
def test_what_was_taken_does_not_depend_on_how_the_octets_came(pieces: list[bytes], cut: int) -> None:
    data = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@kddi.example>\r\n" + b"".join(
        piece for piece in pieces if not piece.startswith((b"STARTTLS", b"AUTH", b"DATA"))
    )
    whole = converse([data], Role.MX, tls=False)
    parts = converse([data[at : at + cut] for at in range(0, len(data), cut)], Role.MX, tls=False)
    assert whole[0].written == parts[0].written
    assert whole[1].messages == parts[1].messages


def test_a_session_whose_policy_has_a_fault_says_421_and_lets_the_fault_out() -> None:
    class Faulty(AnyPolicy):
        async def mail(self, event: MailFrom) -> None:
            raise ZeroDivisionError

        async def recipient(self, event: RcptTo) -> None:
            raise AssertionError

        async def login(self, credentials: Credentials) -> None:
            raise PeerError("never")

    connection = MemoryConnection([b"EHLO x\r\nMAIL FROM:<>\r\n"])
    receiver = SmtpReceiver(DomainName("mx.kddi.example"), Role.MX)
    session: Any = SmtpSession(connection, receiver, Faulty(), NoContext(), Budget(ROOM))  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(session.run())
    assert connection.written.endswith(b"421 4.3.0 Internal fault; try again later\r\n") and connection.closed
