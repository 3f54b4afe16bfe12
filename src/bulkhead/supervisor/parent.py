"""Ending with whoever started this process, however it went: also by SIGKILL. Standard library only."""

import os
import signal
from collections.abc import Callable

from bulkhead.supervisor.syscalls import syscall

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> bool:
    """Have the kernel send `number` when the thread that forked this process ends; False: it has ended already.

    parent: its pid, as it knew it before the fork. A change of user id afterwards takes the order back (prctl(2)).
    Raises OSError.
    """
    syscall("prctl", PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    return os.getppid() == parent


def ending_with_us() -> Callable[[], None]:
    """For `preexec_fn` of what this process is about to execute: it stops in order when this process is gone."""
    parent = os.getpid()

    def ask() -> None:
        if not end_with_parent(parent):
            os._exit(1)

    return ask
