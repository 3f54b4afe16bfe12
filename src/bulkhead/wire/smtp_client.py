"""SmtpSender: the client's side of an SMTP session. Bytes in, events out; gives every recipient an outcome.

Source: RFC 5321 section 3.3 and 4.5.3.2, with SIZE (RFC 1870), PIPELINING (RFC 2920), STARTTLS (RFC 3207),
8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034), DSN (RFC 3461), SMTPUTF8 (RFC 6531).
A server that breaks the protocol is treated as one that hung up: nothing is raised, the recipients are deferred (or
unknown, after the final dot) and the session ends.

    Ready -> send(envelope) -> TextWanted -> text(piece) ... end_text() -> TransactionEnded -> send(...) or quit()
"""

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bulkhead.errors import PeerError
from bulkhead.identifiers import DomainName
from bulkhead.wire.smtp_client_events import (
    TEXT_BLOCK_SECONDS,
    Awaited,
    Ready,
    SenderEvent,
    SessionEnded,
    TextWanted,
    TlsPolicy,
    TlsWanted,
    TransactionEnded,
)
from bulkhead.wire.smtp_codes import Code, Reply
from bulkhead.wire.smtp_notify import NO_WISH, seven_bit
from bulkhead.wire.smtp_outcome import Envelope, Outcome, Transaction, outcome_of, status_of
from bulkhead.wire.smtp_reply import ReplyReader
from bulkhead.wire.smtp_text import TextWriter

INBOX_MAX: Final = 262144  # octets of replies not asked for yet


class SmtpSender:
    """One session with an SMTP server.

    name: what we call ourselves in EHLO.   tls: whether STARTTLS is used when offered, or insisted on.
    tls_active: TLS from the first octet. Methods raise ValueError when called out of turn: our bug, never the peer's.
    """

    def __init__(self, name: DomainName, *, tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC, tls_active: bool = False) -> None:
        self.tls_active = tls_active
        self.extensions: Mapping[str, str] = {}
        self.ended = False
        self._name, self._tls = name, tls
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._reader = ReplyReader()
        self._events: deque[SenderEvent] = deque()
        self._unsent: deque[tuple[Awaited, str]] = deque()
        self._awaited: deque[Awaited] = deque([Awaited.GREETING])
        self._transaction: Transaction | None = None
        self._writer: TextWriter | None = None
        self._handshake = self._ready = self._reset_needed = False

    # --- bytes -------------------------------------------------------------------------------------------------------

    @property
    def patience(self) -> int:
        """Seconds to wait for what comes next before calling connection_lost."""
        return self._awaited[0].seconds if self._awaited else TEXT_BLOCK_SECONDS

    def receive_data(self, data: bytes) -> None:
        """Take octets from the server."""
        if self.ended:
            return
        if self._handshake:
            self._hang_up("the server sent plain text behind STARTTLS")
            return
        self._inbox += data
        if len(self._inbox) > INBOX_MAX:
            self._hang_up("the server sent too much")

    def connection_lost(self, reason: str = "connection lost") -> None:
        """The connection ended, could not go on, or nothing came in time."""
        if not self.ended:
            waited = f" while waiting for the reply to {self._awaited[0].words}" if self._awaited else ""
            self._hang_up(reason + waited)

    def data_to_send(self) -> bytes:
        """The octets due to the server, given once."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def next_event(self) -> SenderEvent | None:
        """The next event, or None when more bytes are needed."""
        while not self._events and not self.ended:
            try:
                reply = self._reader.read(self._inbox)
            except PeerError as error:
                self._hang_up(f"the server broke the protocol: {error.public}")
                break
            if reply is None:
                return None
            self._obey(reply)
        return self._events.popleft() if self._events else None

    # --- the caller's turn -------------------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Begin a transaction, once Ready or after TransactionEnded. Gives TextWanted, or TransactionEnded at once."""
        if self.ended or not self._ready or self._transaction is not None or not envelope.recipients:
            raise ValueError("no transaction can begin now, or it has no recipient")
        transaction = self._transaction = Transaction(envelope)
        if self._refuse_here(transaction):
            self._end_transaction()
            return
        if self._reset_needed:
            self._unsent.append((Awaited.RSET, "RSET"))
        sender = envelope.reverse_path
        self._unsent.append((Awaited.MAIL, f"MAIL FROM:<{sender or ''}>{self._parameters(envelope)}"))
        for at in transaction.pending:
            transaction.offered.append(at)
            self._unsent.append((Awaited.RCPT, f"RCPT TO:<{envelope.recipients[at]}>{self._wish(envelope, at)}"))
        self._unsent.append((Awaited.DATA, "DATA"))
        self._reset_needed = True
        self._send_commands()

    def text(self, piece: bytes) -> None:
        """Send the next piece of the message, after TextWanted. Dots are doubled, newlines made CRLF."""
        if not self.ended:
            self._outbox += self._text_writer().write(piece)

    def end_text(self) -> None:
        """Send the final dot. From here on a lost connection leaves the outcome UNKNOWN."""
        if self.ended:
            return
        self._outbox += self._text_writer().end()
        self._writer = None
        self._awaited.append(Awaited.FINAL_DOT)
        if self._transaction is not None:
            self._transaction.text_ended = True

    def tls_established(self) -> None:
        """The handshake is done: what the server said in clear is forgotten (RFC 3207 section 4.2)."""
        if self.ended:
            return
        if not self._handshake:
            raise ValueError("no handshake was asked for")
        self._inbox.clear()
        self._handshake, self.tls_active = False, True
        self.extensions = {}
        self._command(Awaited.EHLO, f"EHLO {self._name}")

    def quit(self) -> None:
        """End the session politely; only between transactions."""
        if self._transaction is not None:
            raise ValueError("a transaction is under way")
        if not self.ended and not self._handshake:
            self._unsent.clear()
            self._command(Awaited.QUIT, "QUIT")

    # --- replies -----------------------------------------------------------------------------------------------------

    def _obey(self, reply: Reply) -> None:
        """Act on one reply; 421 ends the session whatever it answers (RFC 5321 section 3.8)."""
        if not self._awaited:
            self._hang_up("the server replied to nothing", reply if reply.code == Code.UNAVAILABLE else None)
            return
        awaited = self._awaited.popleft()
        if reply.code == Code.UNAVAILABLE and awaited is not Awaited.QUIT:
            if self._transaction is not None:
                self._transaction.settle_by_reply(reply, awaited.words)
            self._hang_up(f"the server closed in reply to {awaited.words}", reply)
            return
        HANDLERS[awaited](self, reply)
        if not self.ended:
            self._send_commands()

    def _on_greeting(self, reply: Reply) -> None:
        if reply.code == Code.SERVICE_READY:
            self._command(Awaited.EHLO, f"EHLO {self._name}")
        else:
            self._give_up(reply, Awaited.GREETING)

    def _on_ehlo(self, reply: Reply) -> None:
        if reply.code == Code.OK:
            self.extensions = _parse_extensions(reply)
            self._after_hello()
        elif reply.code // 100 == 5 and not (self._tls is TlsPolicy.REQUIRED and not self.tls_active):
            self._command(Awaited.HELO, f"HELO {self._name}")
        else:
            self._give_up(reply, Awaited.EHLO)

    def _on_helo(self, reply: Reply) -> None:
        if reply.code == Code.OK:
            self._after_hello()
        else:
            self._give_up(reply, Awaited.HELO)

    def _after_hello(self) -> None:
        if not self.tls_active and self._tls is not TlsPolicy.NEVER and "STARTTLS" in self.extensions:
            self._command(Awaited.STARTTLS, "STARTTLS")
        elif not self.tls_active and self._tls is TlsPolicy.REQUIRED:
            self._hang_up("TLS is required and the server does not offer it")
        else:
            self._be_ready()

    def _be_ready(self) -> None:
        self._ready = True
        self._events.append(Ready(self.extensions))

    def _on_starttls(self, reply: Reply) -> None:
        if reply.code == Code.SERVICE_READY:
            if self._inbox:  # a reply injected in clear would be taken for one given inside TLS
                self._hang_up("the server sent plain text behind STARTTLS")
                return
            self._handshake = True
            self._events.append(TlsWanted())
        elif self._tls is TlsPolicy.REQUIRED:
            self._hang_up("TLS is required and the server refused it", reply)
        else:
            self._be_ready()

    def _on_rset(self, reply: Reply) -> None:
        if reply.code != Code.OK:
            self._hang_up("the server refused RSET", reply)

    def _on_mail(self, reply: Reply) -> None:
        transaction = self._current()
        if reply.code // 100 == 2:
            return
        transaction.settle_by_reply(_not_success(reply), Awaited.MAIL.words)
        if self._unsent:
            self._end_transaction()

    def _on_rcpt(self, reply: Reply) -> None:
        transaction = self._current()
        at = transaction.offered.popleft()
        if transaction.results[at] is None and reply.code // 100 != 2:
            outcome = outcome_of(reply, at_rcpt=True)
            transaction.settle(at, outcome, reply, "in reply to RCPT", status_of(reply, outcome))
        if self._unsent and not transaction.offered and not transaction.pending:
            self._end_transaction()

    def _on_data(self, reply: Reply) -> None:
        transaction = self._current()
        if reply.code != Code.START_INPUT:
            transaction.settle_by_reply(_not_success(reply), Awaited.DATA.words)
            self._end_transaction()
        elif transaction.pending:
            self._writer = TextWriter()
            self._events.append(TextWanted())
        else:
            self._outbox += b".\r\n"  # RFC 2920 section 3.1: 354 came though no recipient was accepted
            self._awaited.append(Awaited.FINAL_DOT)

    def _on_final_dot(self, reply: Reply) -> None:
        self._current().settle_by_reply(reply, Awaited.FINAL_DOT.words)
        self._reset_needed = False
        self._end_transaction()

    def _on_quit(self, reply: Reply) -> None:
        self._events.append(SessionEnded(None, reply, "QUIT"))
        self._end()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _refuse_here(self, transaction: Transaction) -> bool:
        """Settle what this server cannot take without asking it; True when nothing is left to send."""
        envelope = transaction.envelope
        limit = self.extensions.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and len(limit) <= 20 and 0 < int(limit) < envelope.size:
            reason = f"message of {envelope.size} octets exceeds the server's limit of {int(limit)}"
            transaction.settle_pending(Outcome.FAILED, None, reason, "5.3.4")
        elif envelope.eight_bit and "8BITMIME" not in self.extensions:
            transaction.settle_pending(Outcome.FAILED, None, "the server does not take 8-bit text", "5.6.3")
        for at in transaction.pending if "SMTPUTF8" not in self.extensions else ():
            if envelope.utf8_throughout or not str(envelope.recipients[at]).isascii():  # RFC 6531 section 3.2
                reason = "the message is internationalized and the server does not take SMTPUTF8"
                transaction.settle(at, Outcome.FAILED, None, reason, "5.6.7")
        return not transaction.pending

    def _parameters(self, envelope: Envelope) -> str:
        words = [f" SIZE={envelope.size}"] if "SIZE" in self.extensions else []
        if envelope.eight_bit:
            words.append(" BODY=8BITMIME")
        if envelope.utf8_throughout or not all(str(address).isascii() for address in envelope.recipients):
            words += [" SMTPUTF8"] if "SMTPUTF8" in self.extensions else []
        if "DSN" in self.extensions:
            words += [f" RET={envelope.ret}"] if envelope.ret else []
            words += [f" ENVID={envelope.envid}"] if envelope.envid else []
        return "".join(words)

    def _wish(self, envelope: Envelope, at: int) -> str:
        """The parameters of RCPT (RFC 3461 section 5.2.1); UTF-8 in ORCPT only to a server that takes it."""
        wish = envelope.wish(at)
        if "DSN" not in self.extensions or wish is NO_WISH:
            return ""
        original = wish.original if "SMTPUTF8" in self.extensions else seven_bit(wish.original)
        notify = wish.notify.render()
        return (f" NOTIFY={notify}" if notify else "") + (f" ORCPT={original}" if original else "")

    def _send_commands(self) -> None:
        """Send all that waits to a server that takes PIPELINING, one command at a time to another."""
        pipelining = "PIPELINING" in self.extensions
        while self._unsent and (pipelining or not self._awaited):
            self._command(*self._unsent.popleft())

    def _command(self, awaited: Awaited, line: str) -> None:
        self._outbox += line.encode() + b"\r\n"
        self._awaited.append(awaited)

    def _current(self) -> Transaction:
        if self._transaction is None:
            raise ValueError("no transaction is under way")
        return self._transaction

    def _text_writer(self) -> TextWriter:
        if self._writer is None:
            raise ValueError("text was not asked for")
        return self._writer

    def _end_transaction(self) -> None:
        transaction, self._transaction = self._current(), None
        self._unsent.clear()
        self._writer = None
        self._events.append(TransactionEnded(transaction.outcomes, "DSN" in self.extensions))

    def _give_up(self, reply: Reply, awaited: Awaited) -> None:
        self._hang_up(f"in reply to {awaited.words}", reply)

    def _hang_up(self, reason: str, reply: Reply | None = None) -> None:
        """End the session at once; what was under way is deferred, or unknown after the final dot."""
        transaction = self._transaction
        if transaction is not None:
            lost = Outcome.UNKNOWN if transaction.text_ended else Outcome.DEFERRED
            transaction.settle_pending(lost, reply, reason, "4.4.2")
            self._end_transaction()
        permanent = reply is not None and outcome_of(reply) is Outcome.FAILED
        quitting = Awaited.QUIT in self._awaited
        outcome = None if quitting else Outcome.FAILED if permanent else Outcome.DEFERRED
        self._events.append(SessionEnded(outcome, reply, reason))
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._ready = self._handshake = False
        self._inbox.clear()
        self._unsent.clear()
        self._awaited.clear()


def _parse_extensions(reply: Reply) -> Mapping[str, str]:
    """The keywords of an EHLO reply with their parameters (RFC 5321 section 4.1.1.1)."""
    pairs = (line.partition(" ") for line in reply.lines[1:])
    return MappingProxyType({keyword.upper(): parameters for keyword, _, parameters in pairs if keyword})


def _not_success(reply: Reply) -> Reply:
    """The reply; a 2yz where it makes no sense becomes a reply of ours that defers."""
    return Reply(Code.LOCAL_ERROR, "4.5.0", (f"unexpected reply: {reply}",)) if reply.positive else reply


HANDLERS: Final[Mapping[Awaited, Callable[[SmtpSender, Reply], None]]] = MappingProxyType(
    {
        Awaited.GREETING: SmtpSender._on_greeting,
        Awaited.EHLO: SmtpSender._on_ehlo,
        Awaited.HELO: SmtpSender._on_helo,
        Awaited.STARTTLS: SmtpSender._on_starttls,
        Awaited.RSET: SmtpSender._on_rset,
        Awaited.MAIL: SmtpSender._on_mail,
        Awaited.RCPT: SmtpSender._on_rcpt,
        Awaited.DATA: SmtpSender._on_data,
        Awaited.FINAL_DOT: SmtpSender._on_final_dot,
        Awaited.QUIT: SmtpSender._on_quit,
    }
)
