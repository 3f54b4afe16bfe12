"""Everything a new tenant's cell is made of, before it first runs: settings, certificates, keys, its first domain."""

import asyncio
import base64
import importlib
import importlib.util
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_directory import AddDomain
from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.certificates import Authority, write_gates
from bulkhead.cli.contract_file import write_template
from bulkhead.cli.secret_file import make_private_folder, write_secret
from bulkhead.config import load_installation, render_tenant, write_file
from bulkhead.config.schema import TENANTS_FOLDER
from bulkhead.config.values import Value
from bulkhead.directory import create as directory_create
from bulkhead.directory.book import DirectoryBook
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.errors import ConfigError
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KEY_FILE
from bulkhead.identifiers import DomainName, TenantId
from bulkhead.keyring import create as keyring_create
from bulkhead.ledger import create as ledger_create
from bulkhead.records.forward import public_key
from bulkhead.records.keyfile import KeySet
from bulkhead.records.mailbox import Holder
from bulkhead.records.recovery_file import RecoveryPrivateKey, write_recovery_private
from bulkhead.supervisor.layout import Layout

ROOT_KEY_BYTES = 32
ACTOR = "cli"


@dataclass(frozen=True, slots=True)
class NewTenant:
    """What must be known. settings: further ones by dotted key."""

    id: TenantId
    slot: int
    domain: DomainName
    address: str
    name: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)


def make_tenant(directory: Path, new: NewTenant, authority: Authority) -> Layout:
    """Write the tenant's files; its settings come last, so that a half-made tenant is none. Raises ConfigError."""
    layout = Layout(directory, new.id)
    file = directory / TENANTS_FOLDER / f"{new.id}.toml"
    for path in (file, layout.cell, layout.root_key("x").parent, layout.recovery_key("x").parent):
        if path.exists():
            raise ConfigError(
                f"{path} exists already, perhaps from a tenant of that id; take another id, or remove it yourself"
            )
    recovery = {holder: _recovery_key(layout, holder) for holder in Holder}
    pinned = _write_keys(layout, recovery)
    asyncio.run(_host_domain(layout, new.domain))
    values: dict[str, Value] = {
        "id": new.id, "slot": new.slot, "name": new.name, "names.mx": f"mx.{new.domain}",
        "names.submit": f"smtp.{new.domain}", "names.access": f"imap.{new.domain}", "names.web": f"web.{new.domain}",
        "names.console": f"console.{new.domain}", "listen.address": new.address, **pinned, **new.settings,
    }  # fmt: skip
    write_template(directory, new.id)
    write_file(file, render_tenant(values))
    tenant = load_installation(directory).tenant(new.id)
    make_private_folder(layout.pem("x").parent)
    write_gates(directory, authority, tenant, now=datetime.now(UTC))
    return layout


def _recovery_key(layout: Layout, holder: Holder) -> RecoveryPrivateKey:
    key = RecoveryPrivateKey(layout.tenant, holder, 1, X25519PrivateKey.generate())
    write_secret(layout.recovery_key(holder.name.lower()), write_recovery_private(key).encode("ascii"))
    return key


def _write_keys(layout: Layout, recovery: Mapping[Holder, RecoveryPrivateKey]) -> dict[str, Value]:
    """Root keys and sealed key files of every holder; gives the public keys that the tenant's file pins."""
    keyring = keyring_create.create_keys(recovery[Holder.PARTNER].public(), recovery[Holder.OPERATOR].public())
    ledger = ledger_create.create_keys()
    directory = directory_create.create_keys()
    made = {"keyring": keyring.keys, "ledger": ledger, "directory": directory}
    for process in PROCESSES.values():
        if process.disk is not Disk.DATA:
            continue
        keys = made[process.name] if process.name in made else create_keys_of(process.name)
        root = secrets.token_bytes(ROOT_KEY_BYTES)
        write_secret(layout.root_key(process.name), root)
        sealed = keys.seal(layout.tenant, process.name, 1, root)
        write_secret(layout.home(process.name) / KEY_FILE, sealed, mode=0o600)
    ledger_create.begin_log(ledger, layout.home("ledger"), layout.tenant, ACTOR)
    return {
        "pinned.binding_key": _base64(keyring.binding_key),
        "pinned.queue_key": _base64(keyring.queue_key),
        "pinned.forward_key": forward_key(directory, layout.tenant),
        "pinned.ledger_key": _base64(ledger_create.public_key(ledger)),
        "pinned.recovery_partner": _base64(recovery[Holder.PARTNER].public().public_key.public_bytes_raw()),
        "pinned.recovery_operator": _base64(recovery[Holder.OPERATOR].public().public_key.public_bytes_raw()),
    }


def forward_key(directory: KeySet, tenant: TenantId) -> str:
    """What queue believes forwards to other servers by: base64 of the public half of directory's key for them."""
    return _base64(public_key(directory.current(directory_create.TOMBSTONE)[1], tenant))


def create_keys_of(compartment: str) -> KeySet:
    """The keys that a holder's own `create` makes; an empty set where it needs none."""
    name = f"bulkhead.{compartment}.create"
    if importlib.util.find_spec(name) is None:
        return KeySet()
    keys = importlib.import_module(name).create_keys()
    if not isinstance(keys, KeySet):
        raise ValueError(f"{name}.create_keys gave no KeySet")
    return keys


async def _host_domain(layout: Layout, domain: DomainName) -> None:
    """Write the tenant's first domain into directory's database, which nobody has opened yet."""
    path = layout.home("directory") / DATABASE
    write_secret(path, b"", mode=0o600)  # SQLite gives its other files the same mode
    database = Database(path, MIGRATIONS, secure_delete=True)
    book = DirectoryBook(database, b"", b"", 0)
    request = AddDomain(Stamp.fresh(ACTOR), domain)
    try:
        await database.mutate(request, partial(_add_domain, book, request))
    finally:
        await database.close()


def _add_domain(book: DirectoryBook, request: AddDomain, connection: sqlite3.Connection) -> Done:
    return book.add_domain(connection, request)


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
