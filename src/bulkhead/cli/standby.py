"""`standby key|follow|status`: the standby's own host, and what is known about a standby."""

import argparse
import base64
import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.messages.standby import LeaseAsked
from bulkhead.cli.escrow import destroy_escrow, escrow_file
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, print_table, say, size_text
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.cli.standby_ship import MESSAGES
from bulkhead.config import Installation, Tenant
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId, parse_tenant_id
from bulkhead.records.backup import PrivateKeys
from bulkhead.records.lease import StandbyKeys
from bulkhead.standby.apply import Progress
from bulkhead.standby.follow import POLL_SECONDS, Follower
from bulkhead.standby.place import SETTINGS, Place, make_folder, put
from bulkhead.supervisor.layout import Layout

KEY_TEXT_MAX = 200
MODES = ("off", "async", "sync")
LATE_SECONDS = 10.0  # behind which something is wrong


def key(options: argparse.Namespace) -> int:
    """Make a standby's key, and print what the primary's tenant file needs."""
    tenant = parse_tenant_id(options.tenant)
    path = Path(options.out).absolute()
    write_secret(path, f"# key of the standby of {tenant}\n{secrets.token_hex(32)}\n".encode("ascii"))
    keys = read_key(path, tenant)
    print("[pinned]")
    print(f'standby_witness = "{_public(keys.signing)}"')
    print(f'standby_key = "{_public(keys.opening)}"')
    return ExitCode.OK


def read_key(path: Path, tenant: TenantId) -> StandbyKeys:
    """The standby's keys in a file. Raises ConfigError."""
    lines = read_secret(path, KEY_TEXT_MAX).splitlines()
    if len(lines) != 2 or lines[0] != f"# key of the standby of {tenant}":
        raise ConfigError(f"{path} is not the key of the standby of {tenant}")
    try:
        return StandbyKeys.of(bytes.fromhex(lines[1]), tenant)
    except ValueError:
        raise ConfigError(f"{path} is cut short: take its copy") from None


def _public(private: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return base64.b64encode(private.public_key().public_bytes_raw()).decode("ascii")


def follow(options: argparse.Namespace) -> int:
    """Follow a primary until this is ended by a signal, or the standby was promoted."""
    tenant = parse_tenant_id(options.tenant)
    layout = Layout(Path(options.directory).absolute(), tenant)
    with held(layout):
        follower = make_follower(options, layout, read_key(Path(options.key), tenant))
        say(f"{tenant}: follows {follower.place.path}")
        while not follower.promises.promoted:
            keep_settings(follower.place, layout)
            if not follower.step():
                time.sleep(POLL_SECONDS)
    return ExitCode.OK


def make_follower(
    options: argparse.Namespace, layout: Layout, keys: StandbyKeys, private: PrivateKeys | None = None
) -> Follower:
    """The follower of the place that the options name. Raises ConfigError where a cell is here."""
    place = Place(Path(options.source).absolute(), layout.tenant)
    if not layout.standby.exists():
        if layout.cell.exists() and any(layout.cell.iterdir()):
            raise ConfigError(f"{layout.cell} is not empty: a standby needs a place of its own")
        make_folder(layout.standby)
    return Follower(place, tuple(MESSAGES), keys, layout.home, layout.standby, partial(keep_keys, layout), private)


def keys_folder(layout: Layout) -> Path:
    """Where a standby has the cell's keys, sealed to both recovery keys, until it is promoted."""
    return layout.standby / "keys"


def keep_keys(layout: Layout, compartment: str, sealed: bytes) -> None:
    """Keep a compartment's sealed keys in the place of the older ones, which are overwritten."""
    folder = keys_folder(layout)
    make_folder(folder)
    destroy_escrow(folder, compartment)  # cut here, the piece that brought the new ones is still there
    put(escrow_file(folder, compartment), sealed)


def keep_settings(place: Place, layout: Layout) -> None:
    """Keep the primary's settings as they were first seen: what they trust is not changed by who carries pieces."""
    kept = layout.standby / SETTINGS
    if not kept.exists() and (content := place.read(SETTINGS)):
        put(kept, content)


@contextlib.contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Work on a standby's files alone. Raises ConfigError where another does."""
    make_folder(layout.cell.parent)
    descriptor = os.open(layout.cell.with_suffix(".standby-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"`standby follow {layout.tenant}` is running here: end it first") from None
    finally:
        os.close(descriptor)


def status(options: argparse.Namespace) -> int:
    """Say how far a standby is behind: here at the primary, or here at the standby itself."""
    tenant = parse_tenant_id(options.tenant)
    layout = Layout(Path(options.directory).absolute(), tenant)
    rows = _of_standby(layout) if layout.standby.exists() else wait_for(_of_primary(options))
    if options.json:
        print_json(options.command, {"tenant": tenant, "streams": rows})
    else:
        print_table(
            ("COMPARTMENT", "STREAM", "BEHIND", "WAITING", "LEASE", "NOTE"),
            [
                (r["compartment"], r["stream"] or "-", f"{r['behind']:.1f} s", size_text(r["octets"]),
                 f"{r['lease']:.1f} s", r["note"])
                for r in rows
            ],
        )  # fmt: skip
    return ExitCode.OK if all(row["stream"] and not row["note"] for row in rows) else ExitCode.FINDING


def standing(installation: Installation, tenant: Tenant) -> tuple[str, bool]:
    """(how a tenant's standby stands in words, whether it could take over and this cell may answer)."""
    rows = wait_for(_rows(Road(installation, tenant)))
    notes = [f"{row['compartment']}: {row['note']}" for row in rows if row["note"]]
    if notes:
        return notes[0], False
    if not all(row["lease"] for row in rows):
        return "no lease: changes are answered with 4yz", False
    behind = max(row["behind"] for row in rows)
    return (
        f"{rows[0]['mode']}, {behind:.1f} s and {size_text(sum(r['octets'] for r in rows))} behind",
        behind < LATE_SECONDS,
    )


async def _of_primary(options: argparse.Namespace) -> list[dict[str, Any]]:
    return await _rows(open_road(options.directory, options.tenant))


async def _rows(way: Road) -> list[dict[str, Any]]:
    async with way as road:
        road.check_running()
        rows = []
        for compartment, messages in MESSAGES.items():
            asked: LeaseAsked = await road.ask(compartment, messages.RenewLease())
            note = "" if asked.stream else asked.broken or "nothing is shipped: is `standby ship` running?"
            rows.append({
                "compartment": compartment, "stream": asked.stream, "behind": asked.milliseconds / 1000,
                "octets": asked.octets, "lease": asked.left / 1000, "note": note, "mode": MODES[asked.mode],
            })  # fmt: skip
        return rows


def _of_standby(layout: Layout) -> list[dict[str, Any]]:
    rows = []
    for compartment in MESSAGES:
        progress = Progress.load(layout.standby / f"{compartment}.json")
        note = "" if progress.whole else "no base is whole here"
        behind = time.time() - progress.mark / 1000 if progress.mark else 0.0
        rows.append({
            "compartment": compartment, "stream": progress.stream, "behind": 0.0 if progress.ended else behind,
            "octets": 0, "lease": 0.0, "note": note, "mode": "standby",
        })  # fmt: skip
    return rows
