"""THREAD: messages as trees, by subject and date or by their references (RFC 5256 sections 2.1 and 3).

The algorithms are generators that yield between steps of bounded work, so that the caller may pause, and return the
threads. Nothing recurses: a thread may be as deep as the mailbox has messages.
"""

import hashlib
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import merge
from itertools import chain, pairwise
from typing import Final

STEP: Final = 500  # messages, or steps of a walk, between two yields
REFERENCES_MAX: Final = 200  # of one message; of more, the last ones count
ID_MAX: Final = 128  # octets of a message id that are kept; a longer one is known by its hash
DEPTH_MAX: Final = 2000  # generations above a message under which a thread is hung as a whole
DUMMY: Final = -1  # a node without message: it is known by reference only

_ID = re.compile(rb'<\s*((?:"(?:[^"\\]++|\\.)*+"|[^<>@\s"]++)@[^<>@\s]++)\s*>')
_QUOTED_LOCAL = re.compile(rb'"((?:[^"\\]++|\\.)*+)"@', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class ThreadAlgorithm(Enum):
    """How threads are found."""

    ORDEREDSUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"


THREAD_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in ThreadAlgorithm}


@dataclass(frozen=True, slots=True)
class Threaded:
    """What threading asks of one message, in the order of the mailbox.

    subject: collated base subject, and whether it marks a reply or forward. sent: seconds since 1970. identifier: of
    Message-ID, normalised, or empty. references: as `references_of` gives them.
    """

    number: int
    subject: str
    is_reply: bool
    sent: int
    identifier: bytes = b""
    references: tuple[bytes, ...] = ()


@dataclass(slots=True, eq=False)
class Node:
    """A message, or a dummy, and its children. at: index among the messages given, or DUMMY.

    leads: something hangs from it, or did.
    """

    at: int
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    leads: bool = False


Threads = Generator[None, None, list[Node]]


def message_ids(value: bytes) -> list[bytes]:
    """The last 200 message ids in a field's value, without brackets and without quotes that none needs."""
    return [_normalised(found) for found in _ID.findall(value)[-REFERENCES_MAX:]]


def _normalised(identifier: bytes) -> bytes:
    """`"a"@b` is `a@b` (RFC 5256 section 3, step 1 of REFERENCES); of a very long one its hash."""
    quoted = _QUOTED_LOCAL.match(identifier)
    if quoted is not None:
        identifier = _ESCAPED.sub(rb"\1", quoted[1]) + identifier[quoted.end() - 1 :]
    return identifier if len(identifier) <= ID_MAX else hashlib.blake2b(identifier, digest_size=16).digest()


def references_of(references: bytes, in_reply_to: bytes) -> tuple[bytes, ...]:
    """The ids of References, or where it has none, the first one of In-Reply-To."""
    found = message_ids(references)
    return tuple(found or message_ids(in_reply_to)[:1])


# --- ORDEREDSUBJECT --------------------------------------------------------------------------------------------------


def by_subject(messages: Sequence[Threaded]) -> Threads:
    """Messages of one base subject are a thread: the earliest, and the others as its children, by date.

    Messages without subject have the empty one in common, as they have when sorted by subject.
    """
    groups: dict[str, list[int]] = {}
    for at, message in enumerate(messages):
        groups.setdefault(message.subject, []).append(at)
        if at % STEP == 0:
            yield
    roots: list[Node] = []
    for group in groups.values():
        group.sort(key=lambda at: (messages[at].sent, at))
        root = Node(group[0])
        root.children = [Node(at, root) for at in group[1:]]
        roots.append(root)
        if len(roots) % STEP == 0:
            yield
    return (yield from _in_order(roots, messages))


# --- REFERENCES: the numbers are those of the steps in RFC 5256 section 3 ---------------------------------------------


def by_references(messages: Sequence[Threaded]) -> Threads:
    """Threads by Message-ID, References and In-Reply-To, gathered by base subject."""
    roots = yield from _linked(messages)  # 1 and 2
    roots = yield from _without_dummies(roots)  # 3
    roots = yield from _sorted_roots(roots, messages)  # 4
    roots = yield from _gathered(roots, messages)  # 5
    return (yield from _sorted_siblings(roots, messages))  # 6


def _linked(messages: Sequence[Threaded]) -> Threads:
    """1 and 2: the nodes without parent, once every message is linked to what it refers to."""
    nodes: dict[bytes, Node] = {}
    own: list[Node] = []
    for at, message in enumerate(messages):
        node = nodes.get(message.identifier) if message.identifier else None
        if node is None or node.at != DUMMY:  # none, or not the first with this id: it gets an id of its own
            node, taken = Node(at), node is not None
            if message.identifier and not taken:
                nodes[message.identifier] = node
        node.at = at
        own.append(node)
        for identifier in message.references:
            if identifier not in nodes:
                nodes[identifier] = Node(DUMMY)
        if at % STEP == 0:
            yield
    for at, message in enumerate(messages):
        line = [nodes[identifier] for identifier in message.references]
        for parent, child in pairwise(line):  # 1 A
            if child.parent is None:
                yield from _link(parent, child)
        node = own[at]  # 1 B
        if node.parent is not None and (not line or node.parent is not line[-1]):
            node.parent = None
        if line and node.parent is None:
            yield from _link(line[-1], node)
        if at % STEP == 0:
            yield
    roots: list[Node] = []
    for count, node in enumerate(chain(own, (node for node in nodes.values() if node.at == DUMMY))):
        if node.parent is None:
            roots.append(node)
        else:
            node.parent.children.append(node)
        if count % STEP == 0:
            yield
    return roots


def _link(parent: Node, child: Node) -> Generator[None, None, None]:
    """Make `child` a child of `parent`, unless it is above it already, or that cannot be seen in DEPTH_MAX steps.

    What nothing hangs from is above nothing, so that the replies of the longest talk, as they came, cost no look at it.
    """
    above: Node | None = parent if child.leads or child is parent else None
    steps = 0
    while above is not None:
        steps += 1
        if above is child or steps == DEPTH_MAX:
            return
        above = above.parent
        if steps % STEP == 0:
            yield
    child.parent, parent.leads = parent, True


def _postorder(roots: Sequence[Node]) -> Threads:
    """Every node, children before their parents."""
    order: list[Node] = []
    stack = list(roots)
    while stack:
        node = stack.pop()
        order.append(node)
        stack += node.children
        if len(order) % STEP == 0:
            yield
    order.reverse()
    return order


def _without_dummies(roots: list[Node]) -> Threads:
    """3: dummies make way for their children, but not where several would come to the top."""
    work = 0
    for node in (yield from _postorder(roots)):
        if node.at == DUMMY and node.parent is not None:
            continue  # it goes, with all the dummies around it, where the message above them is looked at
        kept: list[Node] = []
        left = node.children[::-1]
        while left:
            child = left.pop()
            if child.at == DUMMY:
                left += child.children[::-1]
            else:
                kept.append(child)
            work += 1
            if work % STEP == 0:
                yield
        node.children = kept
        work += 1
        if work % STEP == 0:
            yield
    tops: list[Node] = []
    for count, root in enumerate(roots):
        if count % STEP == 0:
            yield
        if root.at != DUMMY or len(root.children) > 1:
            tops.append(root)
        else:
            tops += root.children
    return tops


def _first(node: Node) -> int:
    """The message that stands for a node in comparisons: of a dummy its first child."""
    return node.at if node.at != DUMMY else node.children[0].at


def _in_order(nodes: list[Node], messages: Sequence[Threaded]) -> Threads:
    """The nodes by date, and those of one date as they stand in the mailbox: sorted in runs, which are merged."""
    runs: list[list[tuple[int, int, Node]]] = []
    for start in range(0, len(nodes), STEP):
        run = [(messages[at := _first(node)].sent, at, node) for node in nodes[start : start + STEP]]
        run.sort()  # no two have one `at`, so that nodes are never compared
        runs.append(run)
        if len(nodes) > STEP:
            yield
    if len(runs) == 1:
        return [node for _, _, node in runs[0]]
    ordered: list[Node] = []
    for _, _, node in merge(*runs):
        ordered.append(node)
        if len(ordered) % STEP == 0:
            yield
    return ordered


def _sorted_roots(roots: list[Node], messages: Sequence[Threaded]) -> Threads:
    """4: the threads by date, those of a dummy by its first child."""
    for count, root in enumerate(roots):
        if root.at == DUMMY:
            root.children = yield from _in_order(root.children, messages)
        if count % STEP == 0:
            yield
    return (yield from _in_order(roots, messages))


def _gathered(roots: list[Node], messages: Sequence[Threaded]) -> Threads:
    """5: threads of one subject become one."""
    table: dict[str, Node] = {}
    for count, root in enumerate(roots):  # 5 B
        if count % STEP == 0:
            yield
        subject = messages[_first(root)].subject
        if not subject:
            continue
        before = table.get(subject)
        if before is None or (
            before.at != DUMMY
            and (root.at == DUMMY or (messages[before.at].is_reply and not messages[root.at].is_reply))
        ):
            table[subject] = root
    moved: set[int] = set()
    added: dict[int, Node] = {}  # by the root in whose place the dummy stands
    for count, root in enumerate(roots):  # 5 C
        if count % STEP == 0:
            yield
        subject = messages[_first(root)].subject
        other = table.get(subject)
        if not subject or other is None or other is root:
            continue
        if other.at == DUMMY:
            other.children += root.children if root.at == DUMMY else [root]
        elif root.at != DUMMY and messages[root.at].is_reply and not messages[other.at].is_reply:
            other.children.append(root)
        else:
            dummy = table[subject] = Node(DUMMY, None, [other, root])
            added[id(other)] = dummy
        moved.add(id(root))
    return [added.get(id(root), root) for root in roots if id(root) not in moved]


def _sorted_siblings(roots: list[Node], messages: Sequence[Threaded]) -> Threads:
    """6: every set of siblings by date, the youngest generation first."""
    for count, node in enumerate((yield from _postorder(roots))):
        if len(node.children) > 1:
            node.children = yield from _in_order(node.children, messages)
        if count % STEP == 0:
            yield
    return (yield from _in_order(roots, messages))


# --- the response ----------------------------------------------------------------------------------------------------


def render(roots: Sequence[Node], numbers: Sequence[int]) -> Generator[bytes, None, None]:
    """The threads as the THREAD response has them, in pieces (RFC 5256 section 4, thread-list).

    numbers: of the message at each index. A child alone follows its parent; several stand in parentheses each.
    """
    for root in roots:
        piece: list[bytes] = []
        stack: list[Node | bytes] = [b")", root, b"("]
        while stack:
            item = stack.pop()
            if isinstance(item, bytes):
                piece.append(item)
                continue
            if item.at != DUMMY:
                piece.append(b"%d" % numbers[item.at])
            if item.at != DUMMY and item.children:
                piece.append(b" ")
            if len(item.children) == 1 and item.at != DUMMY:
                stack.append(item.children[0])
            else:
                for child in reversed(item.children):
                    stack += (b")", child, b"(")
            if len(piece) > STEP:
                yield b"".join(piece)
                piece.clear()
        yield b"".join(piece)
