"""Mailbox keys after a renewal: what was had before opens nothing sealed after, and nobody brings an old key back."""

import shutil
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_directory import BindingRow, RenewBinding, ResolveRecipient
from bulkhead.boundary.messages.to_keyring import (
    ArrivedKey,
    OpenArrived,
    OpenNames,
    OpenPages,
    RenewMailboxes,
    ResealSlots,
    Session,
    SlottedKey,
)
from bulkhead.boundary.messages.to_store import CreateMailbox, EndGenerations, GrantSessions
from bulkhead.drill.bare_cell import BareCell, Person, answer, letter, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_directory import HANDLERS, HostileDirectory, arrives, sealer_of
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import EmailId, MailboxId, new_id
from bulkhead.records.mailbox import sign_binding
from bulkhead.records.message import open_key_box, seal_key_box
from bulkhead.records.name import NameKind, SealedName, open_name, seal_name
from bulkhead.records.page import Page
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.records.slot import open_slot, seal_slot
from bulkhead.store import handle_session, rows

EMAIL, KEY = EmailId(bytes(range(16))), bytes(range(32))


async def _renew(cell: BareCell, person: Person) -> Session:
    """The person's session after the renewal, the older seed dropped: one folder is under the new one."""
    await cell.ask("cli", "keyring", RenewMailboxes(stamp(), "drill"))
    _, session = await cell.log_in("access", person)
    await _settled(cell)
    name = seal_name(session.metadata_key, 2, person.account, NameKind.FOLDER, "Folder")
    make = CreateMailbox(stamp(), session.handle, MailboxId(new_id()), name.tag + name.record, name.tag)
    await cell.ask("access", "store", make)
    _, session = await cell.log_in("access", person)
    await _settled(cell)
    return session


async def _settled(cell: BareCell) -> None:
    for task in list(cell.keyring.renewal._settling.values()):
        await task


def _seed(cell: BareCell) -> MailboxSeed:
    """What a thief of keyring's memory has: the seed of the newest session."""
    seed = cell.keyring.sessions.all()[-1].seed
    if seed is None:
        raise AssertionError("the session opens nothing")
    return MailboxSeed(seed.tenant, seed.account, seed.generation, bytes(bytearray(seed.secret)))


def _opens(open_it: Callable[[], object]) -> bool:
    try:
        open_it()
    except IntegrityError:
        return False
    return True


def _opened_by(thief: MailboxSeed, seed: MailboxSeed, box: bytes) -> list[bool]:
    """Whether what `seed` sealed (a slot, a page, a name) and a box to it open with the thief's."""
    account, kind = seed.account, NameKind.FOLDER
    slot = seal_slot(seed.slot_key(), seed.generation, account, EMAIL, KEY)
    page = Page((b"summary",)).seal(seed.page_key(1), seed.generation, account, 1, 1)
    name = seal_name(seed.metadata_key(), seed.generation, account, kind, "Name")
    sealed = SealedName(name.tag, name.record)
    return [
        _opens(lambda: open_key_box(box, thief.message_private_key(), seed.tenant, account, EMAIL)),
        _opens(lambda: open_slot(thief.slot_key(), account, EMAIL, slot)),
        _opens(lambda: Page.open(thief.page_key(1), account, 1, 1, page)),
        _opens(lambda: open_name(thief.metadata_key(), account, kind, sealed)),
    ]


async def read_on(cell: BareCell) -> Finding:
    """Rows, keys and memory of before, and the password: against what is sealed after the renewal."""
    person = await cell.add_person()
    await cell.log_in("access", person)
    before, box = _seed(cell), _box(cell, person.binding)
    control = all(_opened_by(before, before, box))
    copy = cell.root / "keyring-of-before"
    await cell.keyring.database.truncate_wal()
    shutil.copytree(cell.root / "keyring", copy)
    session = await _renew(cell, person)
    after = _seed(cell)
    if session.binding is None or after.generation != before.generation + 1:
        return Finding(0, 1, False)
    moved = MailboxSeed(before.tenant, before.account, after.generation, before.secret)
    box = _box(cell, session.binding)
    found = [*_opened_by(before, after, box), *_opened_by(moved, after, box)]
    files = b"".join(path.read_bytes() for path in copy.iterdir() if path.is_file())
    found += [after.secret in files, session.binding.record in files]
    shutil.rmtree(copy)
    return Finding(sum(found), len(found), control and person.binding.record in files)


def _box(cell: BareCell, binding: BindingRow) -> bytes:
    return seal_key_box(sealer_of(cell).verify(binding), EMAIL, KEY)


async def show_old_binding(cell: BareCell) -> Finding:
    """The binding of before, for mail that mx and submit take after the older seed was dropped."""
    victim = await cell.add_person("victim")
    session = await _renew(cell, victim)
    hostile = HostileDirectory({victim.address: victim.binding})
    await cell.replace("directory", hostile, HANDLERS)
    reached = sum([await arrives(cell, gate, victim.address, sealer_of(cell)) for gate in ("mx", "submit")])
    with weakened(rows, "generation_of", lambda _: 0xFFFFFFFF):  # store takes any
        control = await arrives(cell, "mx", victim.address, sealer_of(cell))
    if session.binding is not None:
        hostile.bindings[victim.address] = session.binding
    return Finding(reached, 2, control and await arrives(cell, "mx", victim.address, sealer_of(cell)))


async def bring_binding(cell: BareCell) -> Finding:
    """Bindings for directory: an older one, another account's, forged ones, and one of another key."""
    victim, other = await cell.add_person("victim"), await cell.add_person("other")
    await cell.ask("cli", "keyring", RenewMailboxes(stamp(), "drill"))
    _, session = await cell.log_in("submit", victim, scope=Scope.SUBMIT)
    genuine = session.binding
    if genuine is None:
        return Finding(0, 1, False)
    known = (await cell.ask("mx", "directory", ResolveRecipient(victim.address))).binding
    own = MailboxSeed(cell.tenant, victim.account, 9, new_secret())
    forged = sign_binding(own, Ed25519PrivateKey.generate(), key_version=1).record
    tries = [
        victim.binding, BindingRow(victim.account, other.binding.record), BindingRow(victim.account, forged),
        BindingRow(victim.account, genuine.record[:-1] + bytes([genuine.record[-1] ^ 1])),
        BindingRow(other.account, genuine.record), BindingRow(victim.account, b"\0"),
    ]  # fmt: skip
    reached = 0
    for gate in ("access", "submit"):
        for binding in tries:
            await answer(cell.exchanges[gate], "directory", RenewBinding(stamp(), binding))
            for person, right in ((victim, known), (other, other.binding)):
                shown = (await cell.ask("mx", "directory", ResolveRecipient(person.address))).binding
                reached += shown != right
    control = known == genuine  # the login itself had brought it
    return Finding(reached, 2 * len(tries), control)


async def shut_out(cell: BareCell) -> Finding:
    """Generations that never were, named to store as the lowest to be taken in: mail must go on to arrive."""
    empty, used = await cell.add_person("empty"), await cell.add_person("used")
    await cell.deliver(used, letter())
    hostile = await cell.replace("keyring", None, {})
    await answer(hostile, "store", GrantSessions((), True, 0))
    tries = [(person, below) for person in (empty, used) for below in (2, 3, 0xFFFFFFFF)]
    reached = 0
    for person, below in tries:
        await answer(hostile, "store", EndGenerations(person.account, below))
        reached += not await arrives(cell, "mx", person.address, sealer_of(cell))
    with weakened(handle_session, "_any", lambda _, compared, __: compared == ">="):  # store looks at nothing
        await answer(hostile, "store", EndGenerations(used.account, 2))
    return Finding(reached, len(tries), not await arrives(cell, "mx", used.address, sealer_of(cell)))


async def ask_dropped(cell: BareCell) -> Finding:
    """Keys of a generation that was dropped, of none, and of one to come, with a live session."""
    person = await cell.add_person()
    _, before = await cell.log_in("access", person)
    old = _seed(cell)
    box, slot = _box(cell, person.binding), seal_slot(old.slot_key(), 1, person.account, EMAIL, KEY)

    async def asked(session: Session) -> list[bool]:
        access, handle = cell.exchanges["access"], session.handle
        opened = await answer(access, "keyring", OpenArrived(handle, (ArrivedKey(EMAIL, box),)))
        slots = await answer(access, "keyring", ResealSlots(handle, (SlottedKey(EMAIL, slot),)))
        pages = await answer(access, "keyring", OpenPages(handle, (1,), 1))
        names = await answer(access, "keyring", OpenNames(handle, 1))
        return [
            not isinstance(opened, str) and opened.keys != (None,),
            not isinstance(slots, str) and slots.slots != (None,),
            not isinstance(pages, str),
            not isinstance(names, str),
        ]

    control = all(await asked(before))
    session = await _renew(cell, person)
    found = await asked(session) + await asked(before)
    for generation in (3, 0xFFFFFFFF):
        pages = await answer(cell.exchanges["access"], "keyring", OpenPages(session.handle, (1,), generation))
        found.append(not isinstance(pages, str))
    return Finding(sum(found), len(found), control)


ACTS = (
    SemanticAct(
        "keyring-copy-of-before", "keyring", (Column.STORED_MAIL, Column.KEYS),
        "rows, keys and memory of before a renewal of mailbox keys, against what is sealed after it",
        "a box, slot, page or name opens, or the new seed is in them", "the same against what was sealed before",
        read_on,
    ),
    SemanticAct(
        "directory-shows-old-binding", "directory", (Column.MAIL_IN_TRANSIT,),
        "a binding of before a renewal, once the older seed is dropped", "mail sealed to it is taken",
        "store takes what is under any generation", show_old_binding,
    ),
    SemanticAct(
        "keyring-shuts-mail-out", "keyring", (Column.MAIL_IN_TRANSIT,),
        "generations that never were, as the lowest that store is to take in", "mail by the genuine binding is refused",
        "store looks at nothing that is there", shut_out,
    ),
    SemanticAct(
        "gates-bring-bindings", "access", (Column.MAIL_IN_TRANSIT,),
        "older, forged and others' bindings, brought to directory as a renewed one", "directory shows it",
        "the genuine newer one, brought by a login", bring_binding,
    ),
    SemanticAct(
        "access-asks-dropped-keys", "access", (Column.STORED_MAIL,),
        "keys of a generation that was dropped, and of ones that never were", "keyring gives any",
        "the same before the renewal", ask_dropped,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
