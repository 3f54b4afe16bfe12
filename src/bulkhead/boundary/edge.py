"""One side of an edge: frames in, facts, back-pressure, the end. Calls out are in asking.py, calls in in serving.py.

Reads with `recv`, which discards descriptors, but on `dialer`'s edges. Any violation ends the edge; calls in flight end
as TemporaryFailure. A side that serves reads no further while its answers are not taken, and takes a few requests at a
time; a side that asks always reads, so the two never wait for each other. No exception of ours may leave a callback:
each becomes an answer or the end.
"""

import math
import os
import socket

from bulkhead.boundary.asking import Asking, gone
from bulkhead.boundary.codec import (
    PROTOCOL,
    Fact,
    Frame,
    FrameKind,
    Hello,
    decode_credit,
    decode_hello,
    decode_with,
    encode,
)
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.outlet import OUTBOX_HIGH
from bulkhead.boundary.serving import Serving
from bulkhead.boundary.terms import CALLS_MAX, Answer, Channel, Handed, Serve, Served, Terms
from bulkhead.errors import BoundaryViolation, TemporaryFailure

__all__ = ["CALLS_MAX", "OUTBOX_HIGH", "Answer", "Channel", "Edge", "Handed", "Serve", "Served", "Terms"]

TURN_REQUESTS = 16  # taken from one edge before the others have their turn: no client starves another
DESCRIPTORS_MAX = 4  # room for those that one read may bring; more than one is a violation
RECEIVE_SIZE = 1 << 16  # below what the allocator maps apart (supervisor/memory.py), which each read would do

_CANCEL = FrameKind.CANCEL  # names, as in sending.py
_CHUNK = FrameKind.CHUNK
_CREDIT = FrameKind.CREDIT
_FACT = FrameKind.FACT
_FAILURE = FrameKind.FAILURE
_HELLO = FrameKind.HELLO
_LAST = FrameKind.LAST
_REPLY = FrameKind.REPLY
_REPLY_BODY = FrameKind.REPLY_BODY
_REQUEST = FrameKind.REQUEST
_REQUEST_BODY = FrameKind.REQUEST_BODY


class Edge(Asking, Serving):
    """One side of one socketpair. Made by an Exchange; lives until either side dies or breaks the rules.

    held: read nothing until `resume`, so that requests wait in the kernel while the handlers are not there yet.
    """

    def __init__(
        self, sock: socket.socket, peer: Channel, generation: int, build: str, terms: Terms, *, held: bool = False
    ) -> None:
        super().__init__(sock, peer, terms)
        self.generation = generation
        self._sock, self._held = sock, held
        self._greeted = False
        self._paused = True
        self._resting = False  # it has taken its few requests of this turn
        sock.setblocking(False)
        self._send(_HELLO, 0, encode(Hello(PROTOCOL, build, generation)))
        self._on_drained()

    def tell(self, fact: Fact) -> bool:
        """Send a fact, or drop it (False) when the peer does not keep up."""
        if not self.alive or self._outlet.full:
            return False
        self._send(_FACT, 0, encode(fact))
        return True

    # --- receiving -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Read from now on, where the edge was held."""
        self._held = False
        self._on_drained()

    def _on_readable(self) -> None:
        try:
            if self._terms.receives_descriptors:
                data, descriptors, flags, _ = socket.recv_fds(self._sock, RECEIVE_SIZE, DESCRIPTORS_MAX)
                self._handed += descriptors
                if len(descriptors) > 1 or flags & socket.MSG_CTRUNC:
                    self.close(BoundaryViolation("more descriptors than one with a reply"))
                    return
            else:
                data = self._sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close(None)
            return
        self._reader.receive_data(data)
        self._take_frames()

    def _take_frames(self) -> None:
        turn = TURN_REQUESTS
        try:
            while self.alive and not self._paused and (received := self._reader.next_frame()) is not None:
                self._on_frame(received)
                turn -= received.kind in (_REQUEST, _REQUEST_BODY)
                if self.alive and (turn == 0 or self._outlet.full) and self._terms.requests is not None:
                    self._paused = True
                    self._loop.remove_reader(self._sock.fileno())
                    if turn == 0:
                        self._resting = True
                        self._loop.call_soon(self._on_next_turn)
            if self._handed:
                raise BoundaryViolation("a descriptor without its reply")
        except BoundaryViolation as violation:
            self.close(violation)
        except Exception as error:  # our bug: the stream is not read on in a state that nobody has thought of
            log_fault(f"fault on the edge to {self.peer}", error)
            self.close(None)

    def _on_drained(self) -> None:
        """A peer that does not read its answers is not read from either; now it has, or nothing waited yet."""
        if self.alive and self._paused and not self._held and not self._resting and not self._outlet.full:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._on_readable)
            self._take_frames()

    def _on_next_turn(self) -> None:
        """The other edges had their turn."""
        self._resting = False
        self._on_drained()

    def _on_frame(self, received: Frame) -> None:
        kind, number, payload = received
        if not self._greeted:
            if kind != _HELLO or decode_hello(payload).generation != self.generation:
                raise BoundaryViolation("the first frame is no Hello of this generation")
            self._greeted = True
        elif kind in (_REQUEST, _REQUEST_BODY):
            self._on_request(number, payload, kind == _REQUEST_BODY)
        elif kind in (_REPLY, _REPLY_BODY, _FAILURE):
            self._on_answer(kind, number, payload)
        elif kind in (_CHUNK, _LAST):
            self._on_chunk(number, payload, kind == _LAST)
        elif kind == _CREDIT:
            self._on_credit(number, decode_credit(payload))
        elif kind == _CANCEL:
            self._on_cancel(number)
        elif kind == _FACT:
            self._learn(decode_with(self._terms.facts, payload))
        else:
            raise BoundaryViolation("a second Hello")

    def _learn(self, fact: Fact) -> None:
        try:
            self._terms.learn(self.peer, fact)
        except Exception as error:  # a fact may be dropped, also by our own bug
            log_fault(f"fault at {type(fact).__name__}", error)

    def _on_chunk(self, number: int, payload: bytes, last: bool) -> None:
        served = self._serving.get(number)
        if served is not None and served.coming and served.reader is not None:
            served.reader.feed(payload, last)
            if last:
                self._end_incoming_body(number, served)
            return
        call = self._calls.get(number)
        if call is None or call.body is None:
            raise BoundaryViolation("a chunk of no body")
        call.body.feed(payload, last)
        if last:
            self._finish(number)

    def _on_credit(self, number: int, chunks: int) -> None:
        call, served = self._calls.get(number), self._serving.get(number)
        if call is not None and call.writer is not None:
            call.writer.grant(chunks)
        elif served is not None and served.writer is not None:
            served.writer.grant(chunks)
        # else: it crossed the end of that body

    def _on_cancel(self, number: int) -> None:
        if self._terms.requests is None:  # the server cannot finish the body of its reply
            call = self._calls.get(number)
            if call is None or call.body is None:
                raise BoundaryViolation("the end of no body")
            call.body.fail(TemporaryFailure("the body ended early", code="aborted"))
            self._finish(number)
            return
        served = self._serving.get(number)
        if served is None:
            return  # it crossed our answer
        served.cancelled = True
        if served.reader is not None:
            served.reader.fail(TemporaryFailure("the body ended early", code="aborted"))
        if served.writer is not None:
            served.writer.fail()
        self._end_incoming_body(number, served)

    # --- sending and ending --------------------------------------------------------------------------------------

    def close(self, violation: BoundaryViolation | None) -> None:
        """End this edge. Everything in flight on it ends as TemporaryFailure."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._sock.fileno())
        self._sweep_by(math.inf)
        self._outlet.close()
        self._sock.close()
        for descriptor in self._handed:
            os.close(descriptor)
        self._handed = []
        for number, call in list(self._calls.items()):
            self._finish(number)
            call.fail(gone())
            if call.body is not None:
                call.body.fail(gone())
            if call.writer is not None:
                call.writer.fail(gone())
        serving, self._serving = self._serving, {}
        for served in serving.values():
            if served.reader is not None:
                served.reader.fail(gone())
            if served.writer is not None:
                served.writer.fail(gone())
        try:
            self._terms.ended(self, violation)
        except Exception as error:
            log_fault(f"fault at the end of the edge to {self.peer}", error)
