"""`domain bindings`, `bindings diff|verify`: the partner's own copy of who is reached by which address."""

import argparse
import base64
import binascii
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead import __version__
from bulkhead.boundary.messages import to_directory as m
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, printable, say
from bulkhead.cli.recovery import read_partner_key
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.exports.bindings import check_row, differences, page_of, read_rows, sealer_of
from bulkhead.exports.sealed import open_new
from bulkhead.identifiers import parse_tenant_id
from bulkhead.records.hpke import load_public_key
from bulkhead.records.mailbox import RecoveryKey


def make(options: argparse.Namespace) -> int:
    """Write the list, sealed; it is in the ledger before it has its name."""
    road, path = open_road(options.directory, options.tenant), Path(options.to)
    text = road.tenant.settings.text("pinned.recovery_partner")
    if not text:
        raise ConfigError("pinned.recovery_partner is empty: the list leaves only sealed to the partner")
    if path.exists():
        raise ConfigError(f"{path} exists already; it is left as it is")
    partner = RecoveryKey(1, load_public_key(base64.b64decode(text)))
    rows, digest = wait_for(_make(road, path, partner))
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "rows": rows, "sha256": digest.hex()})
    say(f"{path}: {rows} addresses and groups, sealed to the partner; sha256 {digest.hex()} is in the ledger")
    return 0


async def _make(road: Road, path: Path, partner: RecoveryKey) -> tuple[int, bytes]:
    sealer = sealer_of(road.tenant.id, partner, int(time.time() * 1000), __version__)
    hashed, new, rows, pages = hashlib.sha256(), path.with_name(path.name + ".new"), 0, 0
    async with road:
        with open_new(new) as file:

            def put(*pieces: bytes) -> None:
                for piece in pieces:
                    hashed.update(piece)
                    file.write(piece)

            put(sealer.begin())
            async for page in _pages(road):
                octets, rows, pages = page_of(page), rows + len(page), pages + 1
                put(*sealer.file(f"page-{pages}", len(octets)), *sealer.update(octets))
            put(*sealer.end())
            file.flush()
            os.fsync(file.fileno())
        await road.ask("directory", m.NoteBindings(stamp(), hashed.digest(), rows))
    new.rename(path)
    sync_folder(path.parent)
    return rows, hashed.digest()


async def _pages(road: Road) -> AsyncIterator[tuple[m.BindingEntry, ...]]:
    for groups in (False, True):
        after = ""
        while page := (await road.ask("directory", m.ListBindings(after, groups))).rows:
            yield page
            after = page[-1].address


def diff(options: argparse.Namespace) -> int:
    """What is different in the newer list; 1 where anything is."""
    tenant = parse_tenant_id(options.tenant)
    key = read_partner_key(Path(options.partner_key), tenant)
    old, new = (read_rows(Path(name), tenant, key) for name in (options.old, options.new))
    found = 0
    for one in differences(old, new):
        found += 1
        print(f"{one.what}\t{printable(one.address)}")
    say(f"{found} differences")
    return ExitCode.FINDING if found else ExitCode.OK


def verify(options: argparse.Namespace) -> int:
    """Every binding under the tenant's binding key, and the file's digest for the ledger."""
    tenant, path = parse_tenant_id(options.tenant), Path(options.file)
    try:
        pinned = Ed25519PublicKey.from_public_bytes(base64.b64decode(options.binding_key, validate=True))
    except (ValueError, binascii.Error):
        raise ConfigError("--binding-key is the tenant's pinned.binding_key: base64 of 32 octets") from None
    key = read_partner_key(Path(options.partner_key), tenant)
    rows = signed = 0
    for row in read_rows(path, tenant, key):
        rows += 1
        try:
            signed += check_row(row, tenant, pinned)
        except IntegrityError as error:
            raise IntegrityError(f"{printable(row['address'])}: {error.public}") from None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    say(f"{rows} addresses and groups; {signed} bindings, every one signed by {tenant}'s keyring; sha256 {digest}")
    if options.digest and options.digest != digest:
        raise IntegrityError(f"the ledger names {options.digest}: this is another file")
    return 0
