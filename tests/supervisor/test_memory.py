"""What a process no longer uses goes back to the kernel, from the midst of its heap too."""

import subprocess
import sys

import pytest

from bulkhead.boundary.processes import PROCESSES
from bulkhead.supervisor import memory

BLOCKS, OCTETS = 600, 100_000  # below what is mapped apart

HOLES = f"""
from pathlib import Path
from bulkhead.supervisor.memory import frugal_malloc, give_back, keep_blocks

def private():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.partition("Anonymous:")[2].split()[0]) * 1024

frugal_malloc()
blocks = [b"x" * {OCTETS} for _ in range({BLOCKS})]
del blocks[::2]
before = private()
give_back()
print(before - private())
large = bytearray(300_000)
before = private()
large[:] = b"y" * len(large)
del large
print(private() - before)
keep_blocks("access")
keep_blocks("mx")
before = private()
large = bytearray(b"y") * 300_000
del large
print(private() - before)
give_back()
print(private() - before)
"""


@pytest.mark.skipif(memory._TRIM is None, reason="only glibc can be told")
def test_free_room_between_blocks_in_use_is_given_back_and_large_blocks_leave_none() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=60)
    given_back, kept, carried, rested = map(int, done.stdout.split())
    assert given_back > BLOCKS // 2 * OCTETS * 0.8
    assert kept < 100_000 < carried
    assert set(PROCESSES) >= memory.CARRIERS
    assert rested < 100_000  # who carries messages uses such a block again, until it rests
