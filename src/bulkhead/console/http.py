"""HTTP/1.1 as the console speaks it: bytes in, whole requests out; answers in, bytes out. No I/O (RFC 9112).

h11 parses, and refuses what a smuggled request needs: two lengths that differ, folded lines, bare newlines in names, an
unknown transfer coding. Beyond it, here: Transfer-Encoding beside Content-Length, a body of a method that has none,
targets and hosts that are not plain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import h11

from bulkhead.errors import PeerError

HEAD_MAX = 16 * 1024  # octets of request line and header fields
FIELDS_MAX = 64
TARGET_MAX = 2048
BODY_MAX = 1 << 20  # octets; 1,000 operations of a bulk call fit
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%?")
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"idempotency-key")


class HttpError(PeerError):
    """What the client sent is answered with `status`, and the connection closed."""

    def __init__(self, status: int, public: str, code: str) -> None:
        super().__init__(public, code=code)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One whole request. fields: by lower-case name; those that came twice are joined with commas."""

    method: str
    path: str
    query: str
    host: str
    fields: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class HttpReceiver:
    """Requests of one connection, one after the other. Three outcomes: a request, None for more bytes, HttpError.

    After HttpError the connection takes one answer and nothing else.
    """

    def __init__(self) -> None:
        self._machine = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._continued = False
        self.broken = False

    def receive_data(self, data: bytes) -> None:
        """Bytes as they came; b"" is the end. Raises HttpError."""
        try:
            self._machine.receive_data(data)
        except (h11.RemoteProtocolError, RuntimeError):
            raise self._fault(400, "bytes behind the end", "bad-request") from None

    @property
    def idle(self) -> bool:
        """Whether no byte of a request has come."""
        return self._head is None and not self._machine.trailing_data[0]

    def wants_continue(self) -> bool:
        """Whether the client waits for 100 (RFC 9110 section 10.1.1); said once."""
        wants = self._machine.they_are_waiting_for_100_continue and not self._continued
        self._continued = self._continued or wants
        return wants

    def go_on(self) -> bytes:
        """The answer to that."""
        return self._machine.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def next_event(self) -> HttpRequest | None:
        """The next whole request. Raises HttpError."""
        while True:
            try:
                event = self._machine.next_event()
            except h11.RemoteProtocolError as error:
                status = error.error_status_hint
                words = {431: "too many header fields", 413: "too large", 501: "not implemented"}
                raise self._fault(status, words.get(status, "not a request of HTTP/1.1"), "bad-request") from None
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
            if isinstance(event, h11.Request):
                self._check_head(event)
                self._head, self._continued = event, False
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_MAX:
                    raise self._fault(413, f"a body has at most {BODY_MAX} octets", "too-large")
            elif isinstance(event, h11.EndOfMessage):
                return self._whole()

    def answer(self, status: int, fields: Iterable[tuple[str, str]], body: bytes, *, last: bool) -> bytes:
        """The octets of one answer; the next request may follow unless `last`, or the client ends the connection."""
        headers = [(name.encode(), value.encode()) for name, value in fields]
        headers.append((b"content-length", str(len(body)).encode()))
        if last or self.broken:
            headers.append((b"connection", b"close"))
        machine = self._machine
        if machine.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        parts = [machine.send(h11.Response(status_code=status, headers=headers)) or b""]
        if self._head is None or self._head.method != b"HEAD":
            parts.append(machine.send(h11.Data(data=body)) or b"")
        parts.append(machine.send(h11.EndOfMessage()) or b"")
        self._head = None
        return b"".join(parts)

    def begin_next(self) -> bool:
        """Whether another request may follow on this connection."""
        machine = self._machine
        if self.broken or machine.our_state is not h11.DONE or machine.their_state is not h11.DONE:
            return False
        machine.start_next_cycle()
        return True

    def _check_head(self, head: h11.Request) -> None:
        fields: dict[bytes, int] = {}
        for name, _ in head.headers:
            fields[name] = fields.get(name, 0) + 1
        if len(head.headers) > FIELDS_MAX:
            raise self._fault(431, f"a request has at most {FIELDS_MAX} header fields", "too-many-fields")
        if any(fields.get(name, 0) > 1 for name in _ONCE):
            raise self._fault(400, "a header field that may come once came twice", "bad-request")
        if b"transfer-encoding" in fields and b"content-length" in fields:
            raise self._fault(400, "a body has one length (RFC 9112 section 6.1)", "two-lengths")
        if head.http_version != b"1.1":
            raise self._fault(505, "HTTP/1.1 is spoken here", "version")
        if head.method.decode() not in METHODS:
            raise self._fault(501, "the method is not known here", "method")
        if len(head.target) > TARGET_MAX:
            raise self._fault(414, f"a target has at most {TARGET_MAX} octets", "too-long")
        if head.target[:1] != b"/" or not _PLAIN.issuperset(head.target):
            raise self._fault(400, "the target is no path and query (RFC 3986 section 3.3)", "bad-target")
        length = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if length > BODY_MAX:
            raise self._fault(413, f"a body has at most {BODY_MAX} octets", "too-large")
        if head.method in (b"GET", b"HEAD") and (length or b"transfer-encoding" in fields):
            raise self._fault(400, "a request that reads has no body", "unexpected-body")

    def _whole(self) -> HttpRequest:
        head, body = self._head, bytes(self._body)
        if head is None:
            raise ValueError("the end of a message before its head")
        self._body.clear()
        fields: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        path, _, query = head.target.decode("ascii").partition("?")
        return HttpRequest(head.method.decode("ascii"), path, query, fields.get("host", ""), fields, body)

    def _fault(self, status: int, public: str, code: str) -> HttpError:
        self.broken = True
        return HttpError(status, public, code)
