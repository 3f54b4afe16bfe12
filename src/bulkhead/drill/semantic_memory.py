"""The memory of auth, and of keyring, stolen after a day of logins: what of it confirms a guess at a password offline.

The thief has the dump of one of the two, its rows and its keys, and the 10,000 most usual passwords, which everybody
here uses. A guess is confirmed by the password itself, or by anything that is made from it and that he can make again:
at auth, with its salts and its cache's key, both outputs of the stretch and the cached login's x; at keyring, which has
neither, the same only where salt or key are found there too.
"""

import base64
import hmac
import random
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages.to_auth import Scope, SetPassword
from bulkhead.boundary.messages.to_keyring import BeginRecovery, GrantRecovery
from bulkhead.drill.bare_cell import BareCell, Person, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.lone_holder import lone_holders
from bulkhead.drill.semantic import Column
from bulkhead.records.common_passwords import COUNT, common_passwords
from bulkhead.records.credential import MAIN_PASSWORD, StretchParameters
from bulkhead.records.derive import u32
from bulkhead.records.mailbox import Holder, OrderKey, reseal_share
from bulkhead.records.stretch import stretch

COST = StretchParameters(8, 1, 1)
SEED = 1906
PEOPLE = 6  # of the small day


async def _change(cell: BareCell, person: Person, password: bytes) -> None:
    """A new password, by both recovery keys."""
    offer = await cell.ask("cli", "keyring", BeginRecovery(stamp(), person.account))
    pinned = Ed25519PublicKey.from_public_bytes(base64.b64decode(cell.settings["pinned"]["binding_key"]))
    key = OrderKey.verify(offer.order_key, pinned, cell.tenant, person.account, offer.generation, offer.order)
    shares = [
        reseal_share(sealed, holder, own, key)
        for sealed, holder, own in zip(
            (offer.sealed_s1, offer.sealed_s2), (Holder.PARTNER, Holder.OPERATOR), cell.recovery, strict=True
        )
    ]
    grant = GrantRecovery(stamp(), person.account, offer.order, shares[0], shares[1])
    token = (await cell.ask("cli", "keyring", grant)).token
    await cell.ask("cli", "auth", SetPassword(stamp(), person.account, password, token, Scope.ALL))


@dataclass(frozen=True, slots=True)
class Dumps:
    """The memory of both, and what only auth has: the key of its cached logins."""

    auth: bytes = field(repr=False)
    keyring: bytes = field(repr=False)
    cache_key: bytes = field(repr=False)


async def live_a_day(cell: BareCell, size: int) -> tuple[list[Person], Dumps]:
    """So many people, each with a usual password: logins right and wrong, cached ones, changes; then both dumps."""
    draw = random.Random(SEED)  # noqa: S311  # repeatable on purpose
    async with lone_holders(cell, ("keyring", "auth"), COST) as (keyring, auth):
        clean = auth.memory() + keyring.memory()
        # auth refuses the most usual ones: those that come next
        usual = [word for word in draw.sample(common_passwords(2 * COUNT)[COUNT:], 2 * size + 8) if word not in clean]
        wrong = usual[:size]
        people = [await cell.add_person("p", usual.pop()) for _ in range(size)]
        for number, person in enumerate(people):
            for gate, scope in (("access", Scope.IMAP), ("access", Scope.IMAP), ("submit", Scope.SUBMIT)):
                await cell.log_in(gate, person, scope=scope)
            if number % 2:
                await cell.admits("access", person, wrong[number])
            if number % 4 == 1:
                await _change(cell, person, changed := usual.pop())
                people[number] = replace(person, password=changed)
                await cell.log_in("access", people[number])
        for _ in range(size):
            await cell.admits("access", f"nobody@{cell.domain}", b"none of theirs")
        dumps = Dumps(auth.memory(), keyring.memory(), bytes.fromhex(auth.told))
    await cell.start("keyring")
    await cell.start("auth")
    return people, dumps


def confirmed(cell: BareCell, people: list[Person], dumps: Dumps) -> dict[str, int]:
    """By what was found, how many of the passwords that hold now the thief of each dump knows to be right."""
    found = dict.fromkeys(
        ("auth: password", "auth: stretch", "auth: cache", "keyring: password", "keyring: stretch", "keyring: cache"), 0
    )
    for person in people:
        half = cell.auth.rows.find(person.account, MAIN_PASSWORD)
        made = stretch(person.password, half.salt, half.parameters)
        what = bytes(8) + person.account + u32(MAIN_PASSWORD) + person.password
        x = hmac.digest(dumps.cache_key, what, "sha256")
        found["auth: password"] += person.password in dumps.auth
        found["auth: stretch"] += made.tight in dumps.auth or made.wrap_key in dumps.auth
        found["auth: cache"] += x in dumps.auth
        found["keyring: password"] += person.password in dumps.keyring
        remains = made.tight in dumps.keyring or made.wrap_key in dumps.keyring
        found["keyring: stretch"] += remains and half.salt in dumps.keyring
        found["keyring: cache"] += x in dumps.keyring and dumps.cache_key in dumps.keyring
    return found


async def _dump(cell: BareCell, size: int) -> tuple[list[Person], dict[str, int], bool]:
    people, dumps = await live_a_day(cell, size)
    # What must be there shows that the search finds: the keys that each holder works with.
    control = dumps.cache_key in dumps.auth and cell.auth.rows.keys.index in dumps.auth
    control = control and cell.keyring.keys.tight in dumps.keyring
    return people, confirmed(cell, people, dumps), control


async def dump_auth(cell: BareCell) -> Finding:
    """auth's memory after a small day."""
    people, found, control = await _dump(cell, PEOPLE)
    reached = max(count for name, count in found.items() if name.startswith("auth"))
    return Finding(reached, len(people), control, ", ".join(f"{name} {count}" for name, count in found.items()))


async def dump_keyring(cell: BareCell) -> Finding:
    """keyring's memory after a small day."""
    people, found, control = await _dump(cell, PEOPLE)
    reached = max(count for name, count in found.items() if name.startswith("keyring"))
    return Finding(reached, len(people), control, ", ".join(f"{name} {count}" for name, count in found.items()))


ACTS = (
    SemanticAct(
        "auth-memory-dump", "auth", (Column.VERIFIERS,), "auth's memory after a day, against usual passwords",
        "a password is confirmed offline", "the keys that auth works with are found", dump_auth,
    ),
    SemanticAct(
        "keyring-memory-dump", "keyring", (Column.VERIFIERS,), "keyring's memory after a day, against usual passwords",
        "a password is confirmed offline", "the keys that keyring works with are found", dump_keyring,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
