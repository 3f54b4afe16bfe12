"""What the demonstration is doing: a bar that grows on a terminal, one line a step elsewhere."""

import sys
import time
from typing import TextIO

BAR = 24  # characters


class Progress:
    """Steps, one after another, on standard error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._title, self._begin, self._shown = "", 0.0, -1

    def begin(self, title: str) -> None:
        """A step begins."""
        self._title, self._begin, self._shown = title, time.monotonic(), -1
        if self._live:
            self._stream.write(f"\r  {title} ...\x1b[K")
            self._stream.flush()

    def at(self, done: int, total: int) -> None:
        """How far it is."""
        part = BAR * done // max(total, 1)
        if self._live and (part != self._shown or done == total):
            self._shown = part
            bar = "█" * part + "·" * (BAR - part)
            self._stream.write(f"\r  {self._title:34} {bar} {done}/{total}\x1b[K")
            self._stream.flush()

    def end(self, result: str) -> None:
        """It is done: one line stays."""
        lead = "\r" if self._live else ""
        clear = "\x1b[K" if self._live else ""
        self._stream.write(f"{lead}  {self._title:34} {result}  ({time.monotonic() - self._begin:.1f} s){clear}\n")
        self._stream.flush()
