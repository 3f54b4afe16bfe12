"""What a restore gives back, and must not: whatever was revoked since, and anything under a key that is destroyed."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from bulkhead.auth.restore import DATABASE as AUTH_DATABASE
from bulkhead.auth.rows import Keys as AuthKeys
from bulkhead.boundary.messages import to_auth, to_keyring, to_store
from bulkhead.boundary.messages.to_auth import AddAppPassword, ChangePassword, RevokeAppPasswords, Scope
from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.boundary.messages.to_ledger import ReadCheckpoint, ReadEntries
from bulkhead.cli.account_steps import close_account, destroy_steps, release_address
from bulkhead.drill.bare_backup import BareBackup, back_up
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_rotation import opens
from bulkhead.holder.database_file import connect
from bulkhead.identifiers import EmailId, MailboxId, new_id, parse_address
from bulkhead.keyring.keys import Keys as KeyringKeys
from bulkhead.keyring.restore import DATABASE as KEYRING_DATABASE
from bulkhead.ledger.event import parse_event
from bulkhead.records.app_password import AppPassword
from bulkhead.records.credential import APP_PASSWORD_BYTES
from bulkhead.supervisor.layout import Layout

NOTED_SECONDS = 10.0
_MODULES: dict[str, Any] = {"auth": to_auth, "keyring": to_keyring}
_OPENED = (
    (AUTH_DATABASE, "SELECT bid, g, record FROM half"),
    (KEYRING_DATABASE, "SELECT bid, g, record FROM half"),
    (KEYRING_DATABASE, "SELECT mid, generation, record FROM mailbox"),
)


async def log_in_after_restore(cell: BareCell) -> Finding:
    """Yesterday's backup restored: a cancelled, a suspended, a changed and two revoked credentials are tried."""
    stays, cancelled, suspended, changed, device = [await cell.add_person(name) for name in "abcde"]
    phones = [await _app_password(cell, device) for _ in range(2)]
    fresh = secrets.token_hex(8).encode()
    yesterday = [
        *((person, person.password) for person in (cancelled, suspended, changed)),
        *((device, p) for p in phones),
    ]
    control = all([await cell.admits("access", *one) for one in (*yesterday, (stays, stays.password))])
    backup = await back_up(cell)
    await _since(backup, cancelled, suspended, changed, device, fresh)
    await backup.restore()
    reached = sum([await cell.admits("access", *one) for one in (*yesterday, (changed, fresh))])
    control = control and all([await cell.admits("access", person) for person in (stays, device)])
    return Finding(reached, len(yesterday) + 1, control)


async def open_backup_from_before(cell: BareCell) -> Finding:
    """Both recovery keys, a backup from before a rotation, and the escrow of afterwards."""
    for _ in range(4):
        await cell.add_person()
    backup = await back_up(cell)
    tried, opened = _records(backup)
    control = opened == tried > 0  # with the escrow of its time
    for name, module in _MODULES.items():
        await cell.ask("cli", name, module.RotateKey(stamp(), True, 0))
        while (await cell.ask("cli", name, module.ReadRotation())).step:
            await asyncio.sleep(0.01)
        await cell.ask("cli", name, module.DestroyKey(stamp(), 1, secrets.token_bytes(32), "file"))
    await backup.escrow()
    return Finding(_records(backup)[1], tried, control)


async def _app_password(cell: BareCell, person: Person) -> bytes:
    secret = secrets.token_bytes(APP_PASSWORD_BYTES)
    request = AddAppPassword(stamp(), person.account, person.password, secret, Scope.IMAP, "")
    return AppPassword((await cell.ask("cli", "auth", request)).cred, secret).text().encode()


async def _since(
    backup: BareBackup, cancelled: Person, suspended: Person, changed: Person, device: Person, fresh: bytes
) -> None:
    """What is done after the backup, until the ledger has it."""
    cell, road = backup.cell, backup.road
    async for _ in destroy_steps(road, cancelled.account):
        pass
    await release_address(road, parse_address(cancelled.address), "drill")
    await close_account(road, parse_address(suspended.address), AccountStatus.SUSPENDED, "drill")
    await cell.ask("cli", "auth", ChangePassword(stamp(), changed.account, changed.password, fresh))
    await cell.ask("cli", "auth", RevokeAppPasswords(stamp(), device.account, 0))
    wanted = {"HalfDestroyed", "AccountStatusChanged", "PasswordSet", "AppPasswordRevoked"}
    for _ in range(int(NOTED_SECONDS / 0.02)):
        found = await _kinds(road)
        if wanted <= set(found[-12:]) and found[-12:].count("AccountStatusChanged") >= 2:
            return
        await asyncio.sleep(0.02)


async def _kinds(road: Any) -> list[str]:
    """The kinds of event in the ledger, in order."""
    text = (await road.ask("ledger", ReadCheckpoint())).text
    size, found = int(text.splitlines()[1]), list[str]()
    while len(found) < size:
        page = await road.ask("ledger", ReadEntries(len(found)))
        found += [parse_event(entry).kind.name for entry in page.entries]
    return found


def _records(backup: BareBackup) -> tuple[int, int]:
    """(records of auth and keyring in the backup, those that open)."""
    layout = Layout(backup.place / secrets.token_hex(4), backup.cell.tenant)
    files = backup.streams(layout, tuple(_MODULES))
    auth, keyring = AuthKeys.of(layout.tenant, files["auth"]), KeyringKeys.of(layout.tenant, files["keyring"])
    ways: tuple[Callable[[bytes, bytes, int], Any], ...] = (auth.open, keyring.open_half, keyring.open_mailbox)
    tried = opened = 0
    for (database, query), open_one in zip(_OPENED, ways, strict=True):
        connection = connect(layout.home(database.partition(".")[0]) / database, secure_delete=False)
        rows = connection.execute(query).fetchall()
        connection.close()
        tried += len(rows)
        opened += sum(opens(open_one, row) for row in rows)
    return tried, opened


async def bring_mail_of_a_cancelled(cell: BareCell) -> Finding:
    """A message of a backup for an account that was cancelled since, and for one that was not."""
    gone, stays = await cell.add_person(), await cell.add_person()
    requests = []
    for person in (stays, gone):
        (inbox,) = (await cell.ask("cli", "store", to_store.ExportMailboxes(person.account))).rows
        copy = to_store.Copy(person.account, EmailId(new_id()), bytes(87), 300, 100, 100, 100, 1_700_000_000)
        row = to_store.RestoredRow(0, MailboxId(inbox.mailbox), 0)
        requests.append(to_store.RestoreMessages(stamp(), (copy,), (row,)))
    async for _ in destroy_steps((await back_up(cell)).road, gone.account):
        pass
    back, refused = [await answer(cell.exchanges["cli"], "store", one, bytes(300)) for one in requests]
    control = isinstance(back, to_store.MessagesRestored) and back.restored == 1
    return Finding(int(isinstance(refused, to_store.MessagesRestored)), 1, control)


ACTS = (
    SemanticAct(
        "restored-yesterday", "auth", (Column.VERIFIERS,),
        "log in to a cell restored from yesterday, with what was cancelled, suspended, changed or revoked since",
        "a gate admits one of them", "all of them yesterday; afterwards what nobody had revoked", log_in_after_restore,
    ),
    SemanticAct(
        "backup-from-before-a-rotation", "keyring", (Column.VERIFIERS, Column.KEYS),
        "open a backup from before a rotation with both recovery keys and the escrow of afterwards",
        "a record of auth or keyring opens", "the escrow of before the rotation opens all", open_backup_from_before,
    ),
    SemanticAct(
        "mail-of-a-cancelled-account", "store", (Column.STORED_MAIL,),
        "bring a message of a backup back to an account that was cancelled since",
        "store takes it", "it takes one for an account that is there", bring_mail_of_a_cancelled,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
