"""`bulkhead run` itself may die: its cells then stop in order, and their addresses are free again."""

import os
import signal
import tempfile
import time
from pathlib import Path

from tests.live import Live


def test_no_process_outlives_a_run_that_was_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        installation = Live(Path(directory) / "i", tenants=1)
        pids = [int(row["pid"]) for row in installation.processes() if row["pid"]]
        try:
            assert len(pids) >= 12
            os.kill(installation.running.process.pid, signal.SIGKILL)
            until = time.monotonic() + 60
            while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
                time.sleep(0.05)
            assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        finally:
            installation.stop()
