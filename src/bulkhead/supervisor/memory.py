"""The C library's allocator, told to give back what it does not use: mallopt(3) and malloc_trim(3), of glibc."""

import ctypes
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Below the 256 KiB that asyncio reads TLS into, one a connection: such blocks are mapped apart and leave no hole.
LARGE_OCTETS = 128 * 1024


def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)  # glibc has both; another C library is left as it is


_TRIM = _function("malloc_trim")


def frugal_malloc() -> None:
    """Give memory back to the kernel: else each process keeps its largest moment (19 MiB a password hash) for ever.

    Setting a threshold also stops glibc from raising it.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_OCTETS)
        mallopt(_M_TRIM_THRESHOLD, LARGE_OCTETS)
        mallopt(_M_ARENA_MAX, 1)  # a second one for threads only has holes of its own


def give_back() -> None:
    """Give back every page with nothing in it, from between what is in use too: 1 to 5 ms where there is much."""
    if _TRIM is not None:
        _TRIM(0)
