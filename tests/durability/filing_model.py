"""What one client knows of its mailboxes: what was acknowledged, and what a reply that never came leaves open.

A state is compared whole: after a lost reply the server has either the state before or the one after, nothing between.
"""

from dataclasses import dataclass, field, replace

INBOX = "INBOX"


@dataclass(frozen=True, slots=True)
class Item:
    """A message in a mailbox. modseq: the last that was told; 0 where none was."""

    token: str
    flags: frozenset[str]
    modseq: int = 0


@dataclass(slots=True)
class Folder:
    """A mailbox. next, highest: UIDNEXT and HIGHESTMODSEQ as told, so lower bounds. validity: 0 where not known yet.

    fresh: must be there behind `next`, with UIDs that were not told. letters: others deliver into it.
    """

    validity: int = 0
    items: dict[int, Item] = field(default_factory=dict)
    next: int = 1
    highest: int = 0
    fresh: tuple[Item, ...] = ()
    letters: bool = False

    def copy(self) -> "Folder":
        return replace(self, items=dict(self.items))


@dataclass(slots=True)
class State:
    """All that one client has. gone: letters that the change to here removed for good."""

    folders: dict[str, Folder]
    subscribed: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()

    def copy(self) -> "State":
        return State({name: folder.copy() for name, folder in self.folders.items()}, self.subscribed)


def difference(expected: State, found: State, own: str) -> str:
    """What of `found` this state does not allow; empty where it may be so. own: how the client's own tokens begin."""
    if expected.folders.keys() != found.folders.keys():
        return f"mailboxes {sorted(found.folders.keys() ^ expected.folders.keys())} are there or not"
    if expected.subscribed != found.subscribed:
        return f"subscriptions {sorted(found.subscribed ^ expected.subscribed)} are there or not"
    for name, folder in expected.folders.items():
        if why := _folder_difference(folder, found.folders[name], own):
            return f"{name}: {why}"
    return ""


def _folder_difference(expected: Folder, found: Folder, own: str) -> str:
    if expected.validity and expected.validity != found.validity:
        return f"UIDVALIDITY was {expected.validity} and is {found.validity}"
    if found.next < expected.next or found.highest < expected.highest:
        return f"UIDNEXT {expected.next} to {found.next}, HIGHESTMODSEQ {expected.highest} to {found.highest}"
    for uid, item in expected.items.items():
        there = found.items.get(uid)
        if there is None:
            return f"{uid} {item} is gone"
        if (there.token, there.flags) != (item.token, item.flags):
            return f"{uid} was {item} and is {there}"
        if there.modseq < item.modseq:
            return f"the MODSEQ of {uid} went from {item.modseq} to {there.modseq}"
    rest = sorted(found.items.keys() - expected.items.keys())
    if rest and rest[0] < expected.next:
        return f"{rest[0]} {found.items[rest[0]]} was never there, and UIDNEXT was {expected.next}"
    wanted = list(expected.fresh)
    for uid in rest:
        there = found.items[uid]
        if wanted and (wanted[0].token, wanted[0].flags) == (there.token, there.flags):
            wanted.pop(0)
        elif not expected.letters or there.token.startswith(own):
            return f"{uid} {there} is more than expected"
    return f"{wanted} are missing" if wanted else ""
