"""The installation as a child process: started, watched until it is ready, stopped; it ends with its starter."""

import contextlib
import select
import subprocess
import sys
import time
from pathlib import Path

from bulkhead.errors import ConfigError
from bulkhead.supervisor.parent import ending_with_us

READY_SECONDS = 90.0
STOP_SECONDS = 10.0
LOG = "log/demo-run.log"
_TAIL = 5  # lines of the log in an error


class Running:
    """`bulkhead run` in a session of its own, so that Ctrl-C reaches only us and we end it in order.

    It also stops when the thread that made it ends, however that went.   held: a descriptor that it keeps open.
    """

    def __init__(self, directory: Path, held: int | None = None) -> None:
        self.log = directory / LOG
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        self.started = time.monotonic()
        self.seconds = 0.0
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bulkhead.cli.main", "run", "-C", str(directory)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                preexec_fn=ending_with_us(),  # noqa: PLW1509  # two system calls, no lock
                pass_fds=() if held is None else (held,),
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Return once every listener of every cell accepts. Raises ConfigError with the log's last lines."""
        out = self.process.stdout
        if out is not None and select.select([out], [], [], READY_SECONDS)[0] and out.readline() == b"ready\n":
            self.seconds = time.monotonic() - self.started
            return
        self.stop()
        lines = self.log.read_text("utf-8", "replace").splitlines()[-_TAIL:]
        if any("in use" in line for line in lines):
            raise ConfigError(
                "the demonstration's addresses are in use: is another one running? Stop it with Ctrl-C there, and "
                f"start again ({self.log} names the address)"
            )
        raise ConfigError("\n".join([f"the six cells did not come up; see {self.log}:", *lines]))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Stop every cell, in order, within 10 s."""
        if self.alive:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        if self.alive:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
