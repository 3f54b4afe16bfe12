"""Keys that change: who may have them changed, and what a copy from before is worth afterwards."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.drill.bare_cell import BareCell, answer, stamp, violates
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import IntegrityError

_MODULES: dict[str, Any] = {"auth": to_auth, "keyring": to_keyring}
Row = tuple[bytes, int, bytes]  # row key, number, record


async def rotate_by_auth(cell: BareCell) -> Finding:
    """auth asks keyring for what only the command line may: a new key, how far that is, the end of the old one."""
    await cell.add_person()
    requests = (
        to_keyring.RotateKey(stamp(), True, 0),
        to_keyring.ReadRotation(),
        to_keyring.DestroyKey(stamp(), 1, secrets.token_bytes(32), "file"),
    )
    reached = sum([await violates(cell.worker("auth"), "keyring", request) for request in requests])
    control = not isinstance(await answer(cell.exchanges["cli"], "keyring", requests[0]), str)
    return Finding(reached, len(requests), control)


async def open_an_older_copy(cell: BareCell) -> Finding:
    """auth and keyring, both with all that they hold after a rotation, on copies of their rows from before."""
    for _ in range(8):
        await cell.add_person()
    auth, keyring = cell.auth, cell.keyring
    half, mailbox = "SELECT bid, g, record FROM half", "SELECT mid, generation, record FROM mailbox"
    stolen: list[tuple[list[Row], Callable[[bytes, bytes, int], Any]]] = [
        (auth.database.read(half), auth.rows.keys.open),
        (keyring.database.read(half), keyring.keys.open_half),
        (keyring.database.read(mailbox), keyring.keys.open_mailbox),
    ]
    tried = sum(len(rows) for rows, _ in stolen)

    def opened() -> int:
        return sum(opens(open_one, row) for rows, open_one in stolen for row in rows)

    for name, module in _MODULES.items():
        await cell.ask("cli", name, module.RotateKey(stamp(), True, 0))
        while (await cell.ask("cli", name, module.ReadRotation())).step:
            await asyncio.sleep(0.01)
    control = opened() == tried  # until the old keys are destroyed
    for name, module in _MODULES.items():
        await cell.ask("cli", name, module.DestroyKey(stamp(), 1, secrets.token_bytes(32), "file"))
    return Finding(opened(), tried, control)


def opens(open_one: Callable[[bytes, bytes, int], Any], row: Row) -> bool:
    try:
        open_one(row[2], row[0], row[1])
    except IntegrityError:
        return False
    return True


ACTS = (
    SemanticAct(
        "auth-rotates-keyring", "auth", (Column.KEYS,), "have keyring change or destroy its key",
        "keyring does it", "the command line may", rotate_by_auth,
    ),
    SemanticAct(
        "keyring-opens-older-copy", "keyring", (Column.VERIFIERS, Column.KEYS),
        "open copies of both databases from before a rotation with every key of afterwards, auth's too",
        "a record of before opens", "the old keys are not destroyed yet", open_an_older_copy,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
