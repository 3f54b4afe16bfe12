"""The bucket's process: `python -I -m bulkhead.bucket.carrier`, frames on standard input and output.

    the first frame      the bucket (target.Bucket) as an object                          {}
    {"do": "folders"...} one request of Target, or of an object that was created or opened, answered by one frame
    {"error": ...}       what it raised, in the words of the error tree

It drops root before its first octet to or from the network. Ends with its standard input.
"""

import contextlib
import importlib
import os
import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any

from bulkhead.bucket.frames import receive, send
from bulkhead.bucket.target import Bucket, BucketTarget, NewUpload
from bulkhead.errors import ConfigError, Error, IntegrityError, Refused, TemporaryFailure

NOBODY = 65_534
ERRORS: dict[str, type[Error]] = {
    kind.__name__: kind for kind in (ConfigError, IntegrityError, Refused, TemporaryFailure)
}
Answer = tuple[dict[str, Any], bytes]


class Carrier:
    """One target, and by number what is being written and read there."""

    def __init__(self, target: BucketTarget) -> None:
        self._target, self._next = target, 0
        self._new, self._reading = dict[int, NewUpload](), dict[int, Iterator[bytes]]()
        self._acts: dict[str, Callable[[dict[str, Any], bytes], Answer]] = {
            "folders": lambda head, _: ({"names": target.folders(head["under"])}, b""),
            "files": lambda head, _: ({"files": target.files(head["folder"])}, b""),
            "remove": lambda head, _: _done(target.remove, head["folder"], head["first"]),
            "hold": lambda head, _: _done(target.hold, head["names"]),
            "sweep": lambda head, _: ({"gone": target.sweep(head["under"], head["days"])}, b""),
            "create": self._create,
            "write": lambda head, blob: _done(self._new[head["number"]].write, blob),
            "done": lambda head, _: ({"sha256": self._new[head["number"]].done()}, b""),
            "close": lambda head, _: _done(self._new.pop(head["number"]).close),
            "open": self._open,
            "next": lambda head, _: ({}, next(self._reading[head["number"]], b"")),
            "leave": lambda head, _: _done(self._reading.pop, head["number"]),
        }

    def answer(self, head: dict[str, Any], blob: bytes) -> Answer:
        """Do one request; what it raised is an answer too."""
        try:
            return self._acts[head["do"]](head, blob)
        except Error as error:
            return {"error": type(error).__name__, "public": error.public, "code": error.code}, b""

    def close(self) -> None:
        """Give up what is not done."""
        for made in self._new.values():
            made.close()

    def _create(self, head: dict[str, Any], _: bytes) -> Answer:
        made = self._target.create(head["name"])
        self._next += 1
        self._new[self._next] = made
        return {"number": self._next}, b""

    def _open(self, head: dict[str, Any], _: bytes) -> Answer:
        self._next += 1
        self._reading[self._next] = self._target.pieces(head["name"], head["offset"], head["octets"])
        return {"number": self._next}, b""


def _done(act: Callable[..., object], *arguments: Any) -> Answer:
    act(*arguments)
    return {}, b""


def main() -> int:
    """Serve until standard input ends."""
    source, out = sys.stdin.buffer, sys.stdout.buffer
    head, _ = receive(source)
    try:
        target = BucketTarget(Bucket(**head))
        importlib.import_module("encodings.idna")  # the last that is loaded by name; its files may be root's alone
        _drop()
    except ImportError:
        why = "botocore is not installed, which a bucket needs; see docs/dependencies.md"
        send(out, {"error": "ConfigError", "public": why, "code": "config"})
        return 1
    except ConfigError as error:
        send(out, {"error": "ConfigError", "public": error.public, "code": error.code})
        return 1
    send(out, {})
    carrier = Carrier(target)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            send(out, *carrier.answer(*receive(source)))
    carrier.close()
    return 0


def _drop() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


if __name__ == "__main__":
    sys.exit(main())
