"""What a committed transaction changed, and which sessions are told that something did."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from bulkhead.boundary.messages.facts import MailboxChanged
from bulkhead.boundary.messages.fields import Fact
from bulkhead.boundary.terms import Channel

TELL_SECONDS = 0.05  # a handle is told at most once in this time


class AddedRow(NamedTuple):
    """A message row that a transaction made; flags as the signed integer that the database keeps."""

    uid: int
    flags: int
    size: int
    date: int
    email: bytes


@dataclass(slots=True)
class MailboxChange:
    """What one transaction did to one mailbox, under one MODSEQ. Expunged first, then added."""

    mailbox: int  # mailbox.seq
    modseq: int
    added: list[AddedRow] = field(default_factory=list)
    flagged: list[tuple[int, int]] = field(default_factory=list)  # UID and flags, ascending
    expunged: list[int] = field(default_factory=list)  # UIDs, ascending
    dropped: bool = False  # the mailbox itself is gone
    unlisted: int = 0  # rows changed that are not listed here, because they are too many

    def __len__(self) -> int:
        return len(self.added) + len(self.flagged) + len(self.expunged) + self.unlisted


@dataclass(slots=True)
class Effects:
    """What one mutation did, filled in by its work and used only once it is committed."""

    changes: list[MailboxChange] = field(default_factory=list)
    accounts: set[int] = field(default_factory=set)  # account.seq: whose watchers are told
    emails: int = 0  # the highest email.seq it gave out
    emptied: bool = False  # a segment lost its last live record
    body: bytes | None = None  # that goes with the reply
    keep_octets: int = 0  # of one account's deleted messages; 0: they go at once


@dataclass(slots=True)
class _Watch:
    handle: bytes
    channel: Channel
    account: int
    pending: bool = False
    timer: asyncio.TimerHandle | None = None


class Watchers:
    """Tells watching sessions, each at most once in 50 ms, and again at the end of that time where more happened."""

    def __init__(self, tell: Callable[[Channel, Fact], bool], loop: asyncio.AbstractEventLoop) -> None:
        self._tell, self._loop = tell, loop
        self._by_handle: dict[bytes, _Watch] = {}
        self._by_account: dict[int, dict[bytes, _Watch]] = {}

    def watch(self, handle: bytes, channel: Channel, account: int) -> None:
        """Tell `channel` of changes in this account from now on."""
        if handle not in self._by_handle:
            watch = self._by_handle[handle] = _Watch(handle, channel, account)
            self._by_account.setdefault(account, {})[handle] = watch

    def unwatch(self, handle: bytes) -> None:
        """Tell this handle nothing more."""
        watch = self._by_handle.pop(handle, None)
        if watch is None:
            return
        if watch.timer is not None:
            watch.timer.cancel()
        others = self._by_account[watch.account]
        del others[handle]
        if not others:
            del self._by_account[watch.account]

    def changed(self, account: int) -> None:
        """Something changed in the account."""
        for watch in self._by_account.get(account, {}).values():
            watch.pending = True
            if watch.timer is None:
                self._flush(watch)

    def close(self) -> None:
        """Tell nobody anything any more."""
        for handle in list(self._by_handle):
            self.unwatch(handle)

    def _flush(self, watch: _Watch) -> None:
        """Tell what is pending and begin the next 50 ms; a fact that could not be sent stays pending."""
        watch.timer = None
        if watch.pending:
            watch.pending = not self._tell(watch.channel, MailboxChanged(watch.handle))
            watch.timer = self._loop.call_later(TELL_SECONDS, self._flush, watch)
