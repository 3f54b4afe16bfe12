"""The C library's allocator, told to give back what it does not use: mallopt(3) and malloc_trim(3), of glibc."""

import ctypes
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Below the 256 KiB that asyncio reads TLS into, one a connection: such blocks are mapped apart and leave no hole.
LARGE_OCTETS = 128 * 1024
# Whoever carries messages all day: mapping each large one and its copies anew took a sixth of a delivery's CPU.
CARRIERS = frozenset({"mx", "submit", "courier", "store", "queue"})
CARRIED_OCTETS = 1024 * 1024


def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)  # glibc has both; another C library is left as it is


_TRIM = _function("malloc_trim")
_SET = _function("mallopt")


def frugal_malloc() -> None:
    """Give memory back to the kernel: else each process keeps its largest moment (19 MiB a password hash) for ever.

    Setting a threshold also stops glibc from raising it.
    """
    if _SET is not None:
        _keep_below(LARGE_OCTETS)
        _SET(_M_ARENA_MAX, 1)  # a second one for threads only has holes of its own


def keep_blocks(compartment: str) -> None:
    """Let those who carry messages keep a MiB, and use it again; where one is a gate, `give_back` takes it at rest."""
    if _SET is not None and compartment in CARRIERS:
        _keep_below(CARRIED_OCTETS)


def _keep_below(octets: int) -> None:
    _SET(_M_MMAP_THRESHOLD, octets)
    _SET(_M_TRIM_THRESHOLD, octets)


def give_back() -> None:
    """Give back every page with nothing in it, from between what is in use too: 1 to 5 ms where there is much."""
    if _TRIM is not None:
        _TRIM(0)
