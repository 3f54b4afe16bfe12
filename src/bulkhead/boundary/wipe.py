"""Overwrites octets that nobody needs any more: what is freed stays in memory until something else comes there.

A password that was typed in the morning was in auth's memory in the evening, in buffers that had long been given back.
"""

import ctypes
import sys
from collections.abc import Iterable

_DATA = bytes.__basicsize__ - 1  # where the octets of a bytes object begin, in CPython
_WIPES = sys.implementation.name == "cpython"
# As ctypes.memset, but the thread keeps the interpreter: for some octets giving it up costs more than they do.
_memset = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)(ctypes.memset)


def wipe(octets: bytes | None, start: int = 0, end: int | None = None) -> None:
    """Zeros in the place of these octets. Only for an object that its owner made, and that nobody else reads.

    Constants must never come here; one octet or none is shared by the whole interpreter, and left alone.
    """
    if type(octets) is bytes and len(octets) > 1 and _WIPES:
        stop = len(octets) if end is None else min(end, len(octets))
        if 0 <= start < stop:
            _memset(id(octets) + _DATA + start, 0, stop - start)


def wipe_fields(message: object, names: Iterable[str]) -> None:
    """The same for these fields of a message that was decoded here."""
    for name in names:
        wipe(getattr(message, name))
