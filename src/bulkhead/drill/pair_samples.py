"""Pairs tried live: two compartments of a bare cell hostile together, and each alone beside it as the control.

What a rule of `pairs.py` says is so shown for some of them; the others are computed alone.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.boundary.messages.to_store import ListMailboxes, Part, ReadPart, ReadRows
from bulkhead.drill.bare_cell import BareCell, letter, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, play_apart
from bulkhead.drill.pairs import Pair
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_auth import HostileAuth
from bulkhead.drill.semantic_keyring import destroy_by_grant
from bulkhead.errors import Error

if TYPE_CHECKING:
    from bulkhead.drill.range import Range

WORDS = 40  # wrong ones before the right one
LIMIT = 20  # failures an hour that keyring allows auth while it is honest
EVERY_UID = ((1, 0xFFFFFFFF),)
Tell = Callable[[str], None]


async def guess_together(cell: BareCell) -> Finding:
    """auth knows the salt, keyring does not count: a list of words finds the password. Alone, auth meets the limit."""
    person = await cell.add_person()
    hostile = HostileAuth(cell)
    auth = cell.auth
    half = auth.rows.find(person.account, 0)
    words = [secrets.token_hex(8).encode() for _ in range(WORDS)] + [person.password]
    stretched = [await auth.stretching.stretch(word, half.salt, half.parameters) for word in words]
    await hostile.take_over()

    async def found() -> int:
        tried = [await hostile.check(person.account, one, secrets.token_bytes(16)) for one in stretched]
        return sum(not isinstance(answer, str) for answer in tried)

    cell.keyring.failures.limit = LIMIT
    alone = await found()
    with weakened(cell.keyring.failures, "exhausted", lambda _: False):
        together = await found()
    return Finding(together, 1, alone == 0, f"{WORDS + 1} words; auth alone met the limit at {LIMIT} and found {alone}")


async def replay_a_password(cell: BareCell) -> Finding:
    """A password that passed through auth opens the mailbox at access. Alone, access has nobody who did not log in."""
    person = await cell.add_person()
    await cell.deliver(person, letter())
    access = cell.worker("access")
    alone = await cell.admits(access, person, b"not typed there")
    _, session = await cell.log_in(access, person)
    inbox = (await access.to("store").call(ListMailboxes(session.handle))).rows[0].mailbox
    row = (await access.to("store").call(ReadRows(session.handle, inbox, EVERY_UID))).rows[0]
    _, reader = await access.to("store").open(ReadPart(session.handle, row.email, Part.HEADER))
    header = await reader.read_all()
    return Finding(int(bool(header)), 1, not alone, "the message of an account that never used this worker")


def _act(
    one: str, two: str, column: Column, attempts: str, act: Callable[[BareCell], Awaitable[Finding]]
) -> SemanticAct:
    return SemanticAct(
        f"{one}-with-{two}", one, (column,), attempts, "both together reach it", "one of them alone does not",
        act,
    )  # fmt: skip


SAMPLES: Mapping[frozenset[str], SemanticAct] = {
    frozenset({"auth", "keyring"}): _act("auth", "keyring", Column.VERIFIERS, "a list of words", guess_together),
    frozenset({"access", "auth"}): _act("access", "auth", Column.STORED_MAIL, "a typed password", replay_a_password),
    frozenset({"access", "keyring"}): _act(
        "access", "keyring", Column.MAIL_DESTROYED, "a session that keyring grants for a stranger", destroy_by_grant
    ),
}


def sample(range_: "Range", pairs: list[Pair], tell: Tell) -> list[Pair]:
    """The pairs, those tried live with what came of it."""
    tell(f"{len(SAMPLES)} pairs, live")
    return [_sampled(range_, pair) for pair in pairs]


def _sampled(range_: "Range", pair: Pair) -> Pair:
    act = SAMPLES.get(frozenset(pair.compartments))
    if act is None:
        return pair
    try:
        finding = play_apart(act, range_.scratch())
    except Error as error:
        return replace(pair, sampled=f"unproven: {error}")
    words = f"{act.attempts}: {finding.reached} of {finding.tried}"
    if not finding.control:
        words += ", and one of them alone does it too"
    return replace(pair, sampled=f"{words}; {finding.note}" if finding.note else words)
