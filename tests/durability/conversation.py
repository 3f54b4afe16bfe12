"""What was asked and answered on a traced process's edges, and at which lines of the trace."""

from dataclasses import dataclass
from typing import Any

from tests.durability.strace_log import Call

from bulkhead.boundary.codec import FrameKind, FrameReader, union_decoder

REPLIES = (FrameKind.REPLY, FrameKind.REPLY_BODY)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request. came: the line at which its last byte was read; answered: at which the reply began to leave."""

    request: Any
    came: int
    answered: int


def turns_of(calls: list[Call], requests: tuple[type[Any], ...]) -> list[Turn]:
    """Every request of these types that was answered, in the order of the answers. Refused ones are left out."""
    decoder = union_decoder(requests)
    assert decoder is not None
    asked: dict[tuple[str, int], tuple[bytes, int]] = {}
    readers: dict[tuple[str, str], FrameReader] = {}
    turns = []
    for call in calls:
        if call.name not in {"sendto", "recvfrom"} or call.result <= 0:
            continue
        descriptor = call.arguments.split("<", 1)[0]
        first = (call.name, descriptor) not in readers
        if first and call.strings[0][4:5] == bytes([FrameKind.HELLO]):  # any later byte may look like one
            readers[call.name, descriptor] = FrameReader()
        reader = readers.get((call.name, descriptor))
        if reader is None:  # no edge: the loop's own wake-ups, the parent's socket
            continue
        reader.receive_data(call.strings[0][: call.result])
        while (frame := reader.next_frame()) is not None:
            key = (descriptor, frame.call)
            if call.name == "recvfrom" and frame.kind in (FrameKind.REQUEST, FrameKind.REQUEST_BODY):
                asked[key] = frame.payload, call.ended
            elif call.name == "sendto" and frame.kind in (*REPLIES, FrameKind.FAILURE) and key in asked:
                payload, came = asked.pop(key)
                if frame.kind in REPLIES:
                    turns.append(Turn(decoder.decode(payload), came, call.begun))
    return turns
