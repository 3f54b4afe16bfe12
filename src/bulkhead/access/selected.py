"""The session's view of its selected mailbox: what the client was told, and what it will be told next.

UIDs and flags are packed arrays, sizes and dates are read when first asked for. `sync` brings the arrays to what the
store has; messages that are gone stay in place until `report` may say so, since message numbers move with them
(RFC 3501 section 7.4.1: no EXPUNGE during FETCH, STORE or SEARCH).
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from bulkhead.access.account import Account
from bulkhead.access.columns import find, unpack, without
from bulkhead.access.enabled import Enabled
from bulkhead.access.keywords import Keywords
from bulkhead.access.output import Output
from bulkhead.access.recent import Recent
from bulkhead.boundary.messages.to_store import RANGES_MAX, Column, ReadChanges, ReadColumns, UidRange
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.flags import SystemFlag
from bulkhead.wire.imap.grammar import Condition
from bulkhead.wire.imap.search_plan import Columns as SearchColumns
from bulkhead.wire.imap.sequence import runs

SLICE = 1000  # messages handled between two pauses
_NOBODY = 0xFFFFFFFF


class Selected:
    """The selected mailbox of one session."""

    def __init__(
        self, account: Account, keywords: Keywords, mailbox: MailboxId, *, read_only: bool, enabled: Enabled
    ) -> None:
        self.mailbox, self.read_only, self.keywords = mailbox, read_only, keywords
        self._enabled = enabled
        self.uid_validity = self.uid_next = self.modseq = 0
        self.uids, self.flags = array("I"), array("Q")
        self.saved = array("I")  # UIDs of `$` (RFC 5182); those that are gone are passed over when it is used
        self.arrived = False  # new messages came since filing last looked
        self._recent = Recent()
        self._account = account
        self.modseqs: array[int] | None = None  # kept once the client is told of them
        self._newer: set[int] = set()  # UIDs of whose MODSEQ alone the client has not been told
        self._sizes: array[int] | None = None
        self._dates: array[int] | None = None
        self._gone: set[int] = set()  # UIDs that the client still counts
        self._flagged: set[int] = set()  # UIDs whose flags the client has not been told
        self._told = 0  # messages that the client knows of
        self._watched_at = -1

    # --- reading --------------------------------------------------------------------------------------------------

    async def load(self, store_epoch: int, *, modseqs: bool = False) -> None:
        """Read UIDs and flags, and have changes told to this session from now on. Raises Refused."""
        request = ReadColumns(
            self._account.handle, self.mailbox, Column.UID | Column.FLAGS | (Column.MODSEQ if modseqs else 0),
            claim_recent=not self.read_only, watch=True,
        )  # fmt: skip
        reply, body = await self._account.read(request)
        self._watched_at = store_epoch
        self.uid_validity, self.uid_next, self.modseq = reply.uid_validity, reply.uid_next, reply.modseq
        self.uids = unpack("I", body, 0, reply.messages)
        self.flags = unpack("Q", body, 4 * reply.messages, reply.messages)
        self.modseqs = unpack("Q", body, 12 * reply.messages, reply.messages) if modseqs else None
        self._recent = Recent()
        self._recent.add(reply.recent_from, reply.recent_to - 1)
        self._told = len(self.uids)
        self._sizes = self._dates = None
        self.arrived = True

    async def sync(self, output: Output, store_epoch: int) -> None:
        """Take in what happened in the store. Raises Refused (`no-such-mailbox`), TemporaryFailure."""
        handle = self._account.handle
        if store_epoch != self._watched_at:
            await self._account.read(ReadColumns(handle, self.mailbox, 0, first_uid=_NOBODY, watch=True))
            self._watched_at = store_epoch
        await self.take_changes(output)

    async def take_changes(self, output: Output) -> None:
        """As sync, for a session that is watched."""
        handle = self._account.handle
        request = ReadChanges(handle, self.mailbox, self.modseq, claim_recent=not self.read_only)
        reply, body = await self._account.read(request)
        output.resumed()
        self._recent.add(max(reply.recent_from, self.uid_next), reply.recent_to - 1)
        if not reply.complete:
            await self._resync(output)
            return
        gone = unpack("I", body, 0, reply.expunged)
        start = 4 * reply.expunged
        uids = unpack("I", body, start, reply.changed)
        flags = unpack("Q", body, start + 4 * reply.changed, reply.changed)
        modseqs = unpack("Q", body, start + 12 * reply.changed, reply.changed)
        await self._take_changed(uids, flags, modseqs, output)
        await self._take_gone(gone, output)
        self.uid_next, self.modseq = reply.uid_next, reply.modseq

    async def _resync(self, output: Output) -> None:
        """The store's log does not reach back: compare everything."""
        request = ReadColumns(
            self._account.handle, self.mailbox, Column.UID | Column.FLAGS | Column.MODSEQ,
            claim_recent=not self.read_only,
        )  # fmt: skip
        reply, body = await self._account.read(request)
        output.resumed()
        uids = unpack("I", body, 0, reply.messages)
        flags = unpack("Q", body, 4 * reply.messages, reply.messages)
        gone: list[int] = []
        for start in range(0, len(self.uids), SLICE):
            gone += [uid for uid in self.uids[start : start + SLICE] if find(uids, uid) is None]
            await output.breathe()
        modseqs = unpack("Q", body, 12 * reply.messages, reply.messages)
        await self._take_changed(uids, flags, modseqs, output)
        await self._take_gone(gone, output)
        self._recent.add(max(reply.recent_from, self.uid_next), reply.recent_to - 1)
        self.uid_next, self.modseq = reply.uid_next, reply.modseq

    async def _take_changed(
        self, uids: "array[int]", flags: "array[int]", modseqs: "array[int]", output: Output
    ) -> None:
        for start in range(0, len(uids), SLICE):
            part = slice(start, start + SLICE)
            self._put_changed(uids[part], flags[part], modseqs[part])
            await output.breathe()
        if any(not self.keywords.knows(mask) for mask in set(flags)):
            await self.keywords.load()

    def _put_changed(self, uids: Sequence[int], flags: Sequence[int], modseqs: Sequence[int]) -> None:
        for uid, mask, modseq in zip(uids, flags, modseqs, strict=True):
            at = bisect_left(self.uids, uid)
            if at == len(self.uids):
                self.uids.append(uid)
                self.flags.append(mask)
                if self.modseqs is not None:
                    self.modseqs.append(modseq)
                self.arrived = True
            elif self.uids[at] == uid:
                if self.flags[at] != mask:
                    self.flags[at] = mask
                    if at < self._told:
                        self._flagged.add(uid)
                if self.modseqs is not None and self.modseqs[at] != modseq:
                    self.modseqs[at] = modseq
                    if at < self._told:
                        self._newer.add(uid)

    async def _take_gone(self, uids: Sequence[int], output: Output) -> None:
        for start in range(0, len(uids), SLICE):
            for uid in uids[start : start + SLICE]:
                if self.index(uid) is not None:
                    self._gone.add(uid)
            await output.breathe()

    async def read_modseqs(self, output: Output) -> None:
        """Keep MODSEQs from now on. A message that is gone has 0."""
        if self.modseqs is not None:
            return
        request = ReadColumns(self._account.handle, self.mailbox, Column.UID | Column.MODSEQ)
        reply, body = await self._account.read(request)
        output.resumed()
        uids = unpack("I", body, 0, reply.messages)
        known = unpack("Q", body, 4 * reply.messages, reply.messages)
        modseqs = array("Q")
        for start in range(0, len(self.uids), SLICE):
            for uid in self.uids[start : start + SLICE]:
                at = find(uids, uid)
                modseqs.append(0 if at is None else known[at])
            await output.breathe()
        self.modseqs = modseqs

    def modseq_at(self, at: int) -> int:
        """The MODSEQ of the message at this place, at least 1; read_modseqs() comes first."""
        if self.modseqs is None:
            raise ValueError("MODSEQs were not read")
        return self.modseqs[at] or 1

    async def changed_since(self, places: list[range], since: int, output: Output) -> list[range]:
        """Of the messages at these places those with a MODSEQ above `since`."""
        changed: list[range] = []
        for place in places:
            for start in range(place.start, place.stop, SLICE):
                for at in range(start, min(place.stop, start + SLICE)):
                    if self.modseq_at(at) <= since:
                        continue
                    if changed and changed[-1].stop == at:
                        changed[-1] = range(changed[-1].start, at + 1)
                    else:
                        changed.append(range(at, at + 1))
                await output.breathe()
        return changed

    # --- what commands need ---------------------------------------------------------------------------------------

    def index(self, uid: int) -> int | None:
        """The place of a UID in the arrays, or None."""
        return find(self.uids, uid)

    def uid_ranges(self, places: Iterable[range]) -> list[tuple[UidRange, ...]]:
        """The UIDs at these places, as ranges for requests of at most 8,192 each."""
        ranges = [(self.uids[place.start], self.uids[place.stop - 1]) for place in places]
        return [tuple(ranges[start : start + RANGES_MAX]) for start in range(0, len(ranges), RANGES_MAX)]

    @property
    def recent(self) -> int:
        """How many messages are \\Recent."""
        return self._recent.count(self.uids)

    def is_recent(self, uid: int) -> bool:
        """Whether the message is \\Recent for this session."""
        return uid in self._recent

    def flag_list(self, at: int) -> bytes:
        """The flags of the message at this place, as FETCH tells them."""
        recent = not self._enabled.rev2 and self.uids[at] in self._recent
        return self.keywords.names.render(self.flags[at], recent=recent)

    def flag_lists(self, places: Sequence[int]) -> list[bytes]:
        """The flags of these messages, as FETCH tells them."""
        if not self._enabled.rev2 and self.recent:
            return [self.flag_list(at) for at in places]
        render = self.keywords.names.render
        return [render(self.flags[at]) for at in places]

    @property
    def untold(self) -> bool:
        """Whether there are flags that the client has not been told."""
        return bool(self._flagged)

    def news(self, at: int, *, flags: bool) -> list[bytes]:
        """Items of an unasked FETCH response, which always has the UID (RFC 7162 section 3.2.4)."""
        items = [b"UID", b"%d" % self.uids[at]]
        if flags:
            items += (b"FLAGS", self.flag_list(at))
        if self.modseqs is not None:
            items += (b"MODSEQ", b"(%d)" % self.modseq_at(at))
        return items

    def is_gone(self, uid: int) -> bool:
        """Whether the message was expunged, though the client has not been told."""
        return uid in self._gone

    async def stored(
        self, body: bytes, count: int, output: Output, expected: Callable[[int], int] | None = None
    ) -> int:
        """This session's own command set flags: `count` UIDs and masks; how many of them are in the view.

        expected: what the client takes a message's new mask to be, from its old one; then only others are told.
        """
        uids, flags = unpack("I", body, 0, count), unpack("Q", body, 4 * count, count)
        seen = 0
        for start in range(0, count, SLICE):
            for uid, mask in zip(uids[start : start + SLICE], flags[start : start + SLICE], strict=True):
                at = self.index(uid)
                if at is None:
                    continue
                seen += 1
                if expected is None or mask != expected(self.flags[at]):
                    self._flagged.add(uid)
                elif self.modseqs is not None:
                    self._newer.add(uid)  # RFC 7162 section 3.1.3: silent, but the MODSEQ is told
                self.flags[at] = mask
            await output.breathe()
        return seen

    def take_flagged(self, uid: int) -> bool:
        """Whether the client has not been told this message's flags; it is told now."""
        if uid in self._flagged:
            self._flagged.discard(uid)
            self._newer.discard(uid)
            return True
        return False

    async def columns(self, output: Output) -> SearchColumns:
        """All arrays, sizes and dates too. One that is gone has size and date 0."""
        sizes, dates = self._sizes, self._dates
        have = 0 if sizes is None else len(sizes)
        if sizes is None or dates is None or have < len(self.uids):
            sizes, dates = sizes or array("I"), dates or array("q")
            first = self.uids[have] if have < len(self.uids) else _NOBODY
            request = ReadColumns(
                self._account.handle, self.mailbox, Column.UID | Column.SIZE | Column.DATE, first_uid=first
            )
            reply, body = await self._account.read(request)
            output.resumed()
            uids = unpack("I", body, 0, reply.messages)
            new_sizes = unpack("I", body, 4 * reply.messages, reply.messages)
            new_dates = unpack("q", body, 8 * reply.messages, reply.messages)
            wanted = self.uids[have:]
            if uids == wanted:
                sizes.extend(new_sizes)
                dates.extend(new_dates)
            else:
                for start in range(0, len(wanted), SLICE):
                    for uid in wanted[start : start + SLICE]:
                        at = find(uids, uid)
                        sizes.append(0 if at is None else new_sizes[at])
                        dates.append(0 if at is None else new_dates[at])
                    await output.breathe()
            self._sizes, self._dates = sizes, dates
        return SearchColumns(
            self.uids, self.flags, sizes, dates, self.keywords.names.bit, is_recent=self.is_recent, modseqs=self.modseqs
        )

    async def first_unseen(self, output: Output) -> int:
        """The number of the first message without \\Seen, 0 if there is none."""
        for start in range(0, len(self.flags), SLICE):
            for at, mask in enumerate(self.flags[start : start + SLICE], start + 1):
                if not mask & SystemFlag.SEEN:
                    return at
            await output.breathe()
        return 0

    def flag_lines(self) -> bytes:
        """FLAGS and PERMANENTFLAGS, as they are now."""
        self.keywords.news = False
        defined = self.keywords.names.defined()
        permanent = responses.permanent_flags_code(
            b"()" if self.read_only else defined, more=not self.read_only and self.keywords.room
        )
        return responses.flags_line(defined) + responses.untagged(Condition.OK, "Flags kept", permanent)

    @property
    def highest_code(self) -> bytes:
        """The text of [HIGHESTMODSEQ n]: the client knows all that happened up to it."""
        return responses.uid_code(b"HIGHESTMODSEQ", max(self.modseq, 1))

    def counts(self) -> bytes:
        """EXISTS, and RECENT where the client may know it (RFC 9051 has no RECENT)."""
        exists = responses.exists(len(self.uids))
        return exists if self._enabled.rev2 else exists + responses.recent(self.recent)

    # --- telling --------------------------------------------------------------------------------------------------

    async def report(self, output: Output, *, expunge: bool) -> None:
        """Tell the client what changed: EXPUNGE where that is allowed, EXISTS, flags."""
        if expunge and self._gone:
            await self._report_gone(output)
        if len(self.uids) != self._told:
            self._told = len(self.uids)
            output.send(self.counts())
        if self.keywords.news:
            output.send(self.flag_lines())
        if self._flagged or self._newer:
            await self._report_changed(output)

    async def _report_changed(self, output: Output) -> None:
        flagged, changed = self._flagged, sorted(self._flagged | self._newer)
        self._flagged, self._newer = set(), set()
        for uid in changed:
            at = self.index(uid)
            if at is None:
                continue
            output.send(responses.fetch_line(at + 1, self.news(at, flags=uid in flagged)))
            await output.breathe()

    async def _report_gone(self, output: Output) -> None:
        """From the highest number down, so that no number moves before it was told."""
        places = sorted(at for uid in self._gone if (at := self.index(uid)) is not None)
        self._gone.clear()
        told = sum(at < self._told for at in places)  # a message that came and went unseen is not mentioned
        if self._enabled.qresync:
            await self._report_vanished([self.uids[at] for at in places[:told]], output)
        else:
            for at in reversed(places[:told]):
                output.send(responses.expunge(at + 1))
                await output.breathe()
        self._told -= told
        self._drop(places)

    async def _report_vanished(self, uids: list[int], output: Output) -> None:
        for start in range(0, len(uids), SLICE):
            output.send(responses.vanished(runs(uids[start : start + SLICE])))
            await output.breathe()

    def _drop(self, places: list[int]) -> None:
        """Take places (ascending) out of all arrays."""
        gone = [self.uids[at] for at in places]
        self._flagged.difference_update(gone)
        self._newer.difference_update(gone)
        self.uids, self.flags = without(self.uids, places), without(self.flags, places)
        self.modseqs, self._sizes, self._dates = (
            column if column is None else without(column, places) for column in (self.modseqs, self._sizes, self._dates)
        )
