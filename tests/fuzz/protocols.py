"""What reads from the network: SMTP, IMAP, POP3, SASL, DNS."""

import dataclasses
import itertools
from typing import Any

import dns.name
from tests.fuzz.harness import Harness, Pieces, nothing
from tests.wire.smtp_peer import Peer

from bulkhead.access.deflate import PIECE_MAX, Inflater
from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_address, parse_domain
from bulkhead.resolver.response import Type, read_response
from bulkhead.wire import pop3
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import fetch, flags, mailbox_name, search, sequence
from bulkhead.wire.imap.command_table import CLEAR_COMMANDS, State
from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.limits import Limits
from bulkhead.wire.imap.receiver import AppendBegun, ImapReceiver, LiteralChunk, Received
from bulkhead.wire.imap.sort import parse_sort_keys
from bulkhead.wire.sasl import LINE_MAX, MECHANISMS, Challenge
from bulkhead.wire.smtp_client import SmtpSender
from bulkhead.wire.smtp_client_events import Ready, TextWanted, TlsPolicy, TlsWanted, TransactionEnded
from bulkhead.wire.smtp_events import DataChunk
from bulkhead.wire.smtp_outcome import Envelope
from bulkhead.wire.smtp_reply import ReplyReader
from bulkhead.wire.smtp_states import Role

# --- SMTP -------------------------------------------------------------------------------------------------------------


def _told(peer: Peer, replies: list[bytes]) -> Any:
    failure = None if peer.failure is None else type(peer.failure), getattr(peer.failure, "public", None)
    events = [event for event in peer.events if not isinstance(event, DataChunk)]
    return events, peer.messages, failure, b"".join(replies)


def smtp_receiver(pieces: Pieces) -> Any:
    """As a client that waits at each line end sees it: what follows in the same packet may be refused."""
    peer = Peer()
    replies = []
    data = b"".join(pieces)
    cuts = set(itertools.accumulate(map(len, pieces))) | {at + 1 for at, octet in enumerate(data) if octet == 10}
    for start, end in itertools.pairwise(sorted({0, len(data), *cuts})):
        if peer.failure is None and not peer.receiver.closed:
            replies.append(peer.say(data[start:end]))
    return _told(peer, replies)


def smtp_submission(data: bytes) -> None:
    """With TLS and AUTH on offer, all at once: the first octet chooses."""
    settings: dict[str, Any] = {"role": Role.SUBMISSION, "tls_offered": True, "mechanisms": ("PLAIN", "LOGIN")}
    if data[:1] > b"\x80":
        settings |= {"tls_offered": False, "tls_active": True}
    peer = Peer(**settings)
    for at in range(1, len(data), 97):
        if peer.failure is None and not peer.receiver.closed:
            replies = peer.say(data[at : at + 97])
            assert all(line[:3].isdigit() for line in replies.split(b"\r\n")[:-1])


def smtp_replies(pieces: Pieces) -> Any:
    """A server's replies as ReplyReader gives them."""
    reader, inbox, found = ReplyReader(), bytearray(), []
    try:
        for piece in pieces:
            inbox += piece
            while (reply := reader.read(inbox)) is not None:
                assert 200 <= reply.code <= 559
                assert all(line.isascii() and line.isprintable() for line in reply.lines)
                found.append(reply)
    except PeerError as error:
        return found, type(error), error.public
    return found


def smtp_sender(data: bytes) -> None:
    """No server makes the sender raise, and every recipient of a transaction gets an outcome."""
    sender, results = SmtpSender(parse_domain("courier.stnet.example"), tls=list(TlsPolicy)[len(data) % 2]), None
    recipients = (parse_address("b@k.example"), parse_address("c@k.example"))
    started = False
    for line in data.split(b"\n"):
        sender.receive_data(line + b"\n")
        while (event := sender.next_event()) is not None:
            if isinstance(event, Ready):
                started = True
                sender.send(Envelope(parse_address("a@stnet.example"), recipients, 10, False))
            elif isinstance(event, TlsWanted):
                sender.tls_established()
            elif isinstance(event, TextWanted):
                sender.text(b"Subject: x\r\n\r\n.\r\n")
                sender.end_text()
            elif isinstance(event, TransactionEnded):
                results = event.results
        sender.data_to_send()
    sender.connection_lost()
    while (event := sender.next_event()) is not None:
        if isinstance(event, TransactionEnded):
            results = event.results
    assert sender.ended
    assert not started or len(results or ()) == 2


# --- IMAP -------------------------------------------------------------------------------------------------------------

_SMALL = Limits(
    line_before_login=256, line=1024, literals_before_login=64, literals=256, append=512, drain_before_login=256,
    drain=1024, chunk=17, bad_before_login=3, bad_in_row=5,
)  # fmt: skip


def imap_receiver(pieces: Pieces) -> Any:
    """A session's events, chunks of one message joined, with small limits; the first octet chooses the state."""
    states, first = list(State), pieces[0][:1]
    receiver = ImapReceiver(_SMALL, state=states[first[0] % (len(states) - 1)], commands=CLEAR_COMMANDS)
    events: list[Any] = []
    try:
        for piece in (pieces[0][1:], *pieces[1:]):
            receiver.receive_data(piece)
            while (event := receiver.next_event()) is not None:
                if isinstance(event, LiteralChunk) and events and isinstance(events[-1], LiteralChunk):
                    event = LiteralChunk(events.pop().data + event.data)
                events.append(event)
                if isinstance(event, AppendBegun):
                    (receiver.refuse_append if event.append.size % 2 else receiver.accept_append)()
                if isinstance(event, Received):
                    if isinstance(event.command, c.Login):
                        receiver.state = State.AUTHENTICATED
                    if isinstance(event.command, c.Select):
                        receiver.state = State.SELECTED
                    if isinstance(event.command, c.Authenticate | c.Idle):
                        receiver.expect_line()
    except PeerError as error:
        events.append((type(error), error.public))
    return events


def inflate(pieces: Pieces) -> Any:
    """What a compressed stream says, in pieces of bounded size; of what is none, that it is none."""
    inflater, found = Inflater(), bytearray()
    try:
        for piece in pieces:
            inflater.feed(piece)
            while text := inflater.take():
                assert len(text) <= PIECE_MAX
                found += text
                if len(found) > 1 << 22:
                    return "a bomb"
    except PeerError as error:
        return error.public
    return bytes(found)


_GRAMMARS = (
    search.parse_search,
    fetch.parse_fetch_items,
    fetch.parse_section,
    sequence.parse_sequence_set,
    flags.parse_flag_list,
    parse_sort_keys,
    lambda scanner: mailbox_name.parse_mailbox_name(scanner.data),
    lambda scanner: mailbox_name.parse_list_pattern(scanner.data),
    lambda scanner: scanner.date_time(),
)


def imap_grammar(data: bytes) -> None:
    """Every grammar on the same text: a value or CommandError, and never past the end."""
    for parse in _GRAMMARS:
        scanner = Scanner(data)
        try:
            parse(scanner)
        except CommandError:
            pass
        assert 0 <= scanner.pos <= len(data)


def imap_names(data: bytes) -> None:
    """A name that is read is written and read as the same; a pattern matches in time in proportion."""
    pattern, _, octets = data.partition(b"\n")
    try:
        name = mailbox_name.parse_mailbox_name(octets)
    except CommandError:
        name = "INBOX"
    assert mailbox_name.parse_mailbox_name(mailbox_name.encode_utf7(name)) == name
    try:
        mailbox_name.ListPattern(mailbox_name.parse_list_pattern(pattern)).matches(name)
    except CommandError:
        pass


# --- POP3 and SASL ----------------------------------------------------------------------------------------------------


def pop3_receiver(pieces: Pieces) -> Any:
    """A session's events; the first octet chooses the state and whether TLS is there."""
    first = pieces[0][0]
    receiver = pop3.Pop3Receiver(state=list(pop3.State)[first % 2], secure=first < 128)
    events: list[Any] = []
    try:
        for piece in (pieces[0][1:], *pieces[1:]):
            receiver.receive_data(piece)
            while (event := receiver.next_event()) is not None:
                events.append(event)
                if isinstance(event, pop3.Auth) and event.mechanism and event.initial_response is None:
                    receiver.expect_line()
                if isinstance(event, pop3.Pass):
                    receiver.state = pop3.State.TRANSACTION
    except PeerError as error:
        events.append((type(error), error.public))
    return events


def sasl(data: bytes) -> None:
    """Both mechanisms, with and without an initial response, line by line."""
    for make in MECHANISMS.values():
        for first in (True, False):
            mechanism, lines = make(), data.split(b"\n")
            try:
                outcome = mechanism.start(lines.pop(0) if first else None)
                while isinstance(outcome, Challenge) and lines:
                    outcome = mechanism.respond(lines.pop(0))
            except PeerError:
                continue
            if not isinstance(outcome, Challenge):
                assert outcome.authcid.isprintable() and outcome.password and b"\0" not in outcome.password
                assert len(outcome.authcid.encode()) <= LINE_MAX
                assert repr(dataclasses.replace(outcome, password=b"another")) == repr(outcome)


# --- DNS --------------------------------------------------------------------------------------------------------------

_NAME = dns.name.from_text("kddi.example")


def dns_response(data: bytes) -> None:
    """An answer to the question or PeerError, of bounded size; the first octet chooses the type, and mends the rest."""
    wanted = list(Type)[data[0] % len(Type)] if data else Type.MX
    for octets in (data[1:], b"\x12\x34" + data[3:]):
        try:
            answer = read_response(octets, _NAME, wanted, 0x1234)
        except PeerError:
            continue
        assert len(answer.records) <= 1000 and answer.ttl >= 0


PROTOCOLS = (
    Harness("smtp-receiver", nothing, smtp_receiver),
    Harness("smtp-submission", smtp_submission),
    Harness("smtp-replies", nothing, smtp_replies),
    Harness("smtp-sender", smtp_sender),
    Harness("imap-receiver", nothing, imap_receiver),
    Harness("inflate", nothing, inflate),
    Harness("imap-grammar", imap_grammar),
    Harness("imap-names", imap_names),
    Harness("pop3-receiver", nothing, pop3_receiver),
    Harness("sasl", sasl),
    Harness("dns-response", dns_response),
)
