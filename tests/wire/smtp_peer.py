"""A caller of SmtpReceiver that says yes to everything, for tests."""

import itertools

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    ChunkEnd,
    DataChunk,
    DataEnd,
    DataRefused,
    DataStart,
    Event,
    Greeted,
    MailFrom,
    RcptTo,
    StartTls,
)
from bulkhead.wire.smtp_states import Role

HOSTNAME = parse_domain("mx.kddi.example")


class Peer:
    """A receiver with its events, replies and accepted messages."""

    def __init__(self, role: Role = Role.MX, **settings: object) -> None:
        self.receiver = SmtpReceiver(HOSTNAME, role, **settings)  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.messages: list[bytes] = []
        self.failure: PeerError | None = None
        self._text = b""
        self.receiver.greet()
        self.receiver.data_to_send()

    def say(self, data: bytes) -> bytes:
        """Give octets to the receiver, answer its events, and return its replies."""
        self.receiver.receive_data(data)
        try:
            while (event := self.receiver.next_event()) is not None:
                self.events.append(event)
                self._answer(event)
        except PeerError as error:
            self.failure = error
        return self.receiver.data_to_send()

    def say_split(self, data: bytes, cuts: list[int]) -> bytes:
        """As say, in pieces cut at these positions."""
        edges = [0, *sorted(cuts), len(data)]
        return b"".join(self.say(data[a:b]) for a, b in itertools.pairwise(edges))

    def _answer(self, event: Event) -> None:
        receiver = self.receiver
        match event:
            case Greeted():
                receiver.accept_hello()
            case StartTls():
                receiver.accept_tls()
            case AuthStart() | AuthLine():
                receiver.authenticated()
            case MailFrom():
                self._text = b""
                receiver.accept_mail()
            case RcptTo():
                receiver.accept_recipient()
            case DataStart():
                receiver.accept_data()
            case DataChunk():
                self._text += event.data
            case ChunkEnd():
                assert event.size == len(self._text)
                receiver.accept_chunk()
            case DataRefused():
                self._text = b""
            case DataEnd():
                assert event.size == len(self._text)
                self.messages.append(self._text)
                receiver.accept_message()


def peer_in_data(**settings: object) -> Peer:
    """A peer that has just been told 354."""
    peer = Peer(**settings)  # type: ignore[arg-type]
    peer.say(b"EHLO client.example\r\n")
    peer.say(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@kddi.example>\r\n")
    assert peer.say(b"DATA\r\n").startswith(b"354 ")
    return peer
