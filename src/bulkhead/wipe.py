"""Overwrites octets that nobody needs any more: what is freed stays in memory until something else comes there.

A password that was typed in the morning was in auth's memory in the evening, in buffers that had long been given back.
A gate that reads one keeps no buffer of it either: what is cut out of an inbox or joined to it leaves nothing behind.
"""

import ctypes
import sys
from collections.abc import Iterable

REST_MAX = 4096
_DATA = bytes.__basicsize__ - 1  # where the octets of a bytes object begin, in CPython
_TEXT = sys.getsizeof("") - 1  # and those of a text that is all ASCII
_WIPES = sys.implementation.name == "cpython"
# As ctypes.memset, but the thread keeps the interpreter: for some octets giving it up costs more than they do.
_memset = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)(
    ctypes.cast(ctypes.memset, ctypes.c_void_p).value or 0
)


def wipe(octets: bytes | None, start: int = 0, end: int | None = None) -> None:
    """Zeros in the place of these octets. Only for an object that its owner made, and that nobody else reads.

    Constants must never come here; one octet or none is shared by the whole interpreter, and left alone.
    """
    if type(octets) is bytes and len(octets) > 1 and _WIPES:
        stop = len(octets) if end is None else min(end, len(octets))
        if 0 <= start < stop:
            _memset(id(octets) + _DATA + start, 0, stop - start)


def wipe_text(text: str) -> None:
    """The same for a text; one that is not all ASCII lies elsewhere, and is left."""
    if type(text) is str and len(text) > 1 and text.isascii() and _WIPES:
        _memset(id(text) + _TEXT, 0, len(text))


def wipe_buffer(buffer: bytearray) -> None:
    """Empty it, and leave nothing where its octets were."""
    buffer[:] = bytes(len(buffer))
    buffer.clear()


def cut_head(buffer: bytearray, end: int) -> bytes:
    """Take the first `end` octets out, and leave nothing where they were.

    Nor where the rest was, if it is short: of many lines in one buffer each would else copy all that follow.
    """
    with memoryview(buffer) as view:
        head, rest = bytes(view[:end]), bytes(view[end:]) if len(view) - end <= REST_MAX else None
    if rest is None:
        buffer[:end] = bytes(end)
        del buffer[:end]
        return head
    wipe_buffer(buffer)
    buffer += rest
    wipe(rest)
    return head


def join_tail(buffer: bytearray, octets: bytes) -> None:
    """Add octets; where the buffer has to move for that, nothing stays where it was."""
    if buffer:
        joined = b"".join((buffer, octets))
        wipe_buffer(buffer)
        buffer += joined
        wipe(joined)
    else:
        buffer += octets


def wipe_fields(message: object, names: Iterable[str]) -> None:
    """The same for these fields of a message that was decoded here."""
    for name in names:
        wipe(getattr(message, name))
