"""Mail comes in: CheckRoom, DeliverMail, AppendMessage(s). 250 means durable: the order is in segment.py."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import structs

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done, Mutation, Reply
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_store import (
    MESSAGE_BYTES_MAX,
    Appended,
    AppendedMessages,
    AppendMessage,
    AppendMessages,
    CheckRoom,
    Copy,
    DeliverMail,
)  # fmt: skip
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.records.access import Act
from bulkhead.store.changes import Effects
from bulkhead.store.grants import WRITE, Session
from bulkhead.store.intake import (
    GATHER_MAX,
    GATHERED_MAX,
    Parcels,
    gather,
    require_sizes,
    sizes_of,
    write_through,
)  # fmt: skip
from bulkhead.store.maildrops import keep_uidl
from bulkhead.store.rows import find_mailbox, insert_message, over_quota, require_keywords, reserve_room
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State

R = TypeVar("R", bound=Reply)


def check_room(state: State, peer: Channel, request: CheckRoom, body: BodyReader | None) -> Done:
    """Is there room, as things are now?"""
    _require_taken(state, request.account)
    _require_room(state, request.account, request.size)
    return Done()


async def deliver_mail(state: State, peer: Channel, request: DeliverMail, body: BodyReader | None) -> Done:
    """Every copy into its account's INBOX, all or none, durable."""
    for copy in request.copies:
        _require_taken(state, copy.account)

    def work(connection: sqlite3.Connection, effects: Effects, parcels: Parcels) -> Done:
        for index, copy in enumerate(request.copies):
            room = reserve_room(connection, effects, copy.account, copy.size, state.messages_max)
            insert_message(connection, effects, room, room.inbox, copy, 0, parcels.place(index))
        return Done()

    done = await commit_copies(state, request, request.copies, body, work)
    for copy in request.copies:
        _record(state, Act.DELIVERED, copy, peer)
    return done


@by_handle(WRITE, changes=True)
async def append_message(state: State, session: Session, request: AppendMessage, body: BodyReader | None) -> Appended:
    """One copy into a mailbox of the session's account."""
    if request.copy.account != session.account:
        raise Refused("the copy is not this session's account's", code="no-right")

    def work(connection: sqlite3.Connection, effects: Effects, parcels: Parcels) -> Appended:
        mailbox = find_mailbox(connection, session.account_seq, request.mailbox)
        room = reserve_room(connection, effects, session.account, request.copy.size, state.messages_max)
        require_keywords(request.flags, room.keywords)
        uid, uid_validity = insert_message(
            connection, effects, room, mailbox.seq, request.copy, request.flags, parcels.place(0)
        )
        if request.uidl:
            keep_uidl(connection, room.inbox, mailbox, uid, request.uidl)
        return Appended(uid_validity, uid, room.modseq)

    appended = await commit_copies(state, request, (request.copy,), body, work)
    _record(state, Act.APPENDED, request.copy, session.channel)
    return appended


@by_handle(WRITE, changes=True)
async def append_messages(
    state: State, session: Session, request: AppendMessages, body: BodyReader | None
) -> AppendedMessages:
    """Several copies into a mailbox of the session's account, all or none."""
    if any(copy.account != session.account for copy in request.copies):
        raise Refused("a copy is not this session's account's", code="no-right")
    if len(request.flags) != len(request.copies):
        raise Refused("each copy needs its flags", code="bad-flags")

    def work(connection: sqlite3.Connection, effects: Effects, parcels: Parcels) -> AppendedMessages:
        mailbox = find_mailbox(connection, session.account_seq, request.mailbox)
        modseq = 0
        for index, (copy, flags) in enumerate(zip(request.copies, request.flags, strict=True)):
            room = reserve_room(connection, effects, session.account, copy.size, state.messages_max)
            require_keywords(flags, room.keywords)
            insert_message(connection, effects, room, mailbox.seq, copy, flags, parcels.place(index))
            modseq = room.modseq
        return AppendedMessages(mailbox.uid_validity, mailbox.uid_next, modseq)

    return await commit_copies(state, request, request.copies, body, work)


async def commit_copies(
    state: State,
    request: Mutation[R],
    copies: Sequence[Copy],
    body: BodyReader | None,
    work: Callable[[sqlite3.Connection, Effects, Parcels], R],
) -> R:
    """The reply, and until when it may be told to whoever handed the copies over."""
    reply = await _take_copies(state, request, copies, body, work)
    return reply if state.lease is None else structs.replace(reply, until=state.lease.until)


async def _take_copies(
    state: State,
    request: Mutation[R],
    copies: Sequence[Copy],
    body: BodyReader | None,
    work: Callable[[sqlite3.Connection, Effects, Parcels], R],
) -> R:
    """Take the body in, then commit. A large one is looked at first: seen before, or no room, and nothing is read."""
    total = _total(copies)
    if total <= GATHER_MAX and state.buffered + total <= GATHERED_MAX:
        state.buffered += total
        try:
            return await _commit_parcels(state, request, await gather(state.segments, copies, body, total), work)
        finally:
            state.buffered -= total
    if (reply := await state.database.answered(request)) is not None:
        return reply
    for copy in copies:
        _require_room(state, copy.account, copy.size)
    return await _commit_parcels(state, request, await write_through(state.segments, copies, body), work)


async def _commit_parcels(
    state: State,
    request: Mutation[R],
    parcels: Parcels,
    work: Callable[[sqlite3.Connection, Effects, Parcels], R],
) -> R:
    try:
        return await state.commit(
            request, lambda connection, effects: work(connection, effects, parcels), with_segments=True
        )
    finally:
        parcels.release()


def _record(state: State, act: Act, copy: Copy, channel: Channel) -> None:
    if state.accesses is not None:
        state.accesses.of_session(act, AccountId(copy.account), channel, copy.size)


def _require_taken(state: State, account: bytes) -> None:
    """Raises TemporaryFailure where mail for this account waits at whoever brings it: nothing is lost."""
    if state.surfaces.closed(Surface.INBOUND | Surface.CHANGES, account):
        raise TemporaryFailure("mail for this mailbox is stopped for now", code="contained")


def _total(copies: Sequence[Copy]) -> int:
    """Sealed bytes of all copies. Raises Refused: `too-large` over 128 MiB, `bad-sizes` where it is more than mail."""
    total = 0
    for copy in copies:
        size = sum(sizes_of(copy))
        if size > MESSAGE_BYTES_MAX:
            raise Refused("the message is too large", code="too-large")
        require_sizes(copy)
        total += size
    return total


def _require_room(state: State, account: bytes, size: int) -> None:
    row = state.database.first("SELECT quota, used FROM account WHERE account = ?", (account,))
    if row is None:
        raise Refused("there is no such account", code="no-such-account")
    quota, used = row
    if quota and used + size > quota:
        raise over_quota()
