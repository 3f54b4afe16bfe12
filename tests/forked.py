"""Run a piece of a test in a forked process: what it returns comes back, what it raises fails the test."""

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable

from bulkhead.supervisor.syscalls import syscall

OWN_UID = 50_000_000 + os.getpid() % 4_000_000 * 10
"""The first of ten user ids of this run alone: the kernel counts threads per uid, over the whole machine."""
ORDINARY_UID = OWN_UID
_PATIENCE = 30.0
_PR_SET_DUMPABLE = 4


def become_ordinary_user() -> None:
    """Leave root as an ordinary user's login would, debuggable like any program it starts."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        syscall("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)


def in_fork(function: Callable[[int], object], *, user: bool = False) -> object:
    """What `function` returns through JSON, run in a child that is killed after 30 s.

    function: gets the descriptor on which the answer leaves, which a lock has to keep.   user: run it as an ordinary
    user. Raises AssertionError with the child's traceback, or with its status when it ended without an answer.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            try:
                if user:
                    become_ordinary_user()
                answer = json.dumps({"value": function(write_end)})
            except BaseException:
                answer = json.dumps({"error": traceback.format_exc()})
            os.write(write_end, answer.encode())
        finally:
            os._exit(0)
    os.close(write_end)
    text = b""
    deadline = time.monotonic() + _PATIENCE
    while select.select([read_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(read_end, 1 << 16)
        if not piece:
            break
        text += piece
    os.close(read_end)
    if time.monotonic() >= deadline:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not text:
        raise AssertionError(f"the child ended without an answer, status {status}")
    answer = json.loads(text)
    if "error" in answer:
        raise AssertionError(answer["error"])
    return answer["value"]
