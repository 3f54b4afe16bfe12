"""Executes an image and tells it what it is locked to. Standard library only."""

import os
import subprocess
import sys
from pathlib import Path

from bulkhead.supervisor import control
from bulkhead.supervisor.control import ControlChannel, Op
from bulkhead.supervisor.image_lock import ImageTerms
from bulkhead.supervisor.memfd import sealed_memfd

START = Path(__file__).with_name("image_start.py")


def launch(terms: ImageTerms, log: int) -> "tuple[subprocess.Popen[bytes], ControlChannel]":
    """The process and our end of its control channel. log: where it writes.

    -S: .pth files and sitecustomize are code of packages, and would run before the lock. Raises OSError.
    """
    ours, theirs = control.control_pair()
    content = sealed_memfd(terms.encode())
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(START), terms.image, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"LANG": "C.UTF-8"}, cwd="/",
            close_fds=True, pass_fds=(theirs.fileno(),), start_new_session=True,
        )  # fmt: skip
        channel = ControlChannel(ours)
        channel.send(Op.TERMS, b"", content)
    finally:
        os.close(content)
        theirs.close()
    return process, channel
