"""Which mailboxes LIST and LSUB tell of, and what of each (RFC 3501 section 6.3.8; RFC 5258 sections 3 to 5).

A name above a mailbox that is no mailbox itself exists for LIST only: \\Noselect, or \\NonExistent in an extended LIST.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from bulkhead.access.folders import canonical
from bulkhead.boundary.messages.to_store import MailboxRow, Role
from bulkhead.wire.imap.commands import ListMailboxes, ListReturn, ListSubscribed, Selection
from bulkhead.wire.imap.mailbox_name import INBOX, ListPattern, names_above

SPECIAL_USE: Final = {
    Role.DRAFTS: b"\\Drafts", Role.SENT: b"\\Sent", Role.JUNK: b"\\Junk", Role.TRASH: b"\\Trash",
    Role.ARCHIVE: b"\\Archive",
}  # fmt: skip
"""Attributes of RFC 6154 section 2; \\All and \\Flagged would be views of other mailboxes, which there are none of."""

Breathe = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listed:
    """One response. row: of a mailbox that meets the selection, for its STATUS; None for every other name."""

    name: str
    attributes: tuple[bytes, ...]
    child_info: bool = False
    row: MailboxRow | None = None


async def list_mailboxes(
    command: ListMailboxes, rows: Mapping[str, MailboxRow], subscribed: Set[str], breathe: Breathe
) -> list[Listed]:
    """LIST, in order of names, INBOX first. subscribed: needed where `asks_subscriptions`."""
    existing_parents = names_above(rows)
    selected = _selected(command, rows, subscribed, existing_parents)
    matches = await _matching(command.reference, command.patterns, selected, breathe)
    names, with_children = set(matches), set[str]()
    if Selection.RECURSIVEMATCH in command.selection:
        with_children = names_above(selected)
        # one that is told of only for what is below it goes without saying where all of that is told itself
        hidden = names_above(selected - matches) - selected
        names |= await _matching(command.reference, command.patterns, hidden, breathe)
    listed = []
    for name in sorted(names, key=_inbox_first):
        row = rows.get(name)
        attributes = _attributes(command, name, row, subscribed, existing_parents)
        listed.append(Listed(name, attributes, name in with_children, row if name in matches else None))
    return listed


def asks_subscriptions(command: ListMailboxes) -> bool:
    """Whether LIST needs to know what is subscribed."""
    return Selection.SUBSCRIBED in command.selection or ListReturn.SUBSCRIBED in command.returns


async def list_subscribed(
    command: ListSubscribed, rows: Mapping[str, MailboxRow], subscribed: Set[str], breathe: Breathe
) -> list[Listed]:
    """LSUB. With `%`, a name above a subscribed one that does not match is told of, as \\Noselect."""
    matches = await _matching(command.reference, (command.pattern,), subscribed, breathe)
    names = set(matches)
    if "%" in command.reference + command.pattern:
        names |= await _matching(
            command.reference, (command.pattern,), names_above(subscribed - matches) - subscribed, breathe
        )
    return [
        Listed(name, () if name in matches and name in rows else (b"\\Noselect",))
        for name in sorted(names, key=_inbox_first)
    ]


def _selected(
    command: ListMailboxes, rows: Mapping[str, MailboxRow], subscribed: Set[str], parents: set[str]
) -> set[str]:
    """The names that meet the selection, whatever the patterns. No mailbox is remote, so REMOTE adds none."""
    names = set(subscribed) if Selection.SUBSCRIBED in command.selection else {*rows, *parents}
    if Selection.SPECIAL_USE in command.selection:
        names = {name for name in names if name in rows and rows[name].role in SPECIAL_USE}
    return names


async def _matching(reference: str, texts: Iterable[str], names: Set[str], breathe: Breathe) -> set[str]:
    patterns = [ListPattern(canonical(reference + text)) for text in texts]
    found = set()
    for name in names:
        await breathe()
        if any(pattern.matches(name) for pattern in patterns):
            found.add(name)
    return found


def _attributes(
    command: ListMailboxes, name: str, row: MailboxRow | None, subscribed: Set[str], parents: set[str]
) -> tuple[bytes, ...]:
    attributes = []
    if row is None:
        attributes.append(b"\\NonExistent" if command.extended else b"\\Noselect")
    if not command.extended or ListReturn.CHILDREN in command.returns:
        attributes.append(b"\\HasChildren" if name in parents else b"\\HasNoChildren")
    if row is not None and row.role in SPECIAL_USE:  # told always: RFC 6154 section 2 lets a plain LIST do so too
        attributes.append(SPECIAL_USE[row.role])
    if name in subscribed and asks_subscriptions(command):
        attributes.append(b"\\Subscribed")
    return tuple(attributes)


def _inbox_first(name: str) -> tuple[bool, str]:
    return name != INBOX, name
