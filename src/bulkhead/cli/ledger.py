"""`ledger TENANT list|verify|prove`: reads over the road, and believes only what verifies under the pinned key."""

import argparse
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_ledger import (
    EVENTS_MAX,
    ProveConsistency,
    ProveInclusion,
    ReadCheckpoint,
    ReadEntries,
)
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.config import Tenant, write_file
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from bulkhead.ledger.note import NOTE_MAX, Checkpoint, VerifierKey, parse_note, verify_checkpoint


def list_entries(options: argparse.Namespace) -> int:
    """Print entries."""
    if options.first < 0 or options.limit < 0:
        raise ConfigError("--first and --limit are not negative")
    size, events = wait_for(_list(open_road(options.directory, options.tenant), options.first, options.limit))
    if options.json:
        entries = [
            {
                "index": index, "time": event.at, "kind": event.kind.name, "actor": event.actor,
                "subjects": [subject.hex() for subject in event.subjects], "details": json.dumps(dict(event.details)),
            }
            for index, event in events
        ]  # fmt: skip
        print_json(options.command, {"tenant": options.tenant, "size": size, "entries": entries})
        return 0
    rows = [
        (index, time_text(event.at), event.kind.name, event.actor, _subjects(event), _details(event))
        for index, event in events
    ]
    print_table(("ENTRY", "TIME", "EVENT", "ACTOR", "SUBJECT", "DETAILS"), rows)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check the whole log."""
    road = open_road(options.directory, options.tenant)
    earlier = _kept_checkpoint(road, options.since) if options.since else None
    checkpoint, text = wait_for(_verify(road, earlier))
    if options.keep:
        write_file(Path(options.keep), text, replace=True)
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.hex(), "extends": earlier.size if earlier else None,
        })  # fmt: skip
        return 0
    print(f"{options.tenant}: {checkpoint.size} entries of {checkpoint.origin} are in the tree that the ledger signed")
    print(f"root {checkpoint.root.hex()}")
    if earlier:
        print(f"the {earlier.size} entries seen before are its beginning")
    else:
        say("keep this checkpoint elsewhere (--keep FILE), and give it next time (--since FILE): "
            "only that shows that history was not rewritten in between")  # fmt: skip
    return 0


def prove(options: argparse.Namespace) -> int:
    """Print an entry with its proof."""
    if options.index < 0:
        raise ConfigError("INDEX is not negative")
    document = wait_for(_prove(open_road(options.directory, options.tenant), options.index))
    if options.json:
        print_json(options.command, document)
        return 0
    print(f"entry {document['index']} of {document['size']}: {document['entry']}")
    print(f"leaf {document['leaf']}")
    for value in document["hashes"]:
        print(f"  {value}")
    print(document["checkpoint"], end="")
    return 0


async def read_checkpoint(road: Road) -> tuple[Checkpoint, str]:
    """The newest checkpoint, verified, and its text."""
    text = (await road.ask("ledger", ReadCheckpoint())).text
    return _verified(road, text), text


def log_key(road: Road) -> VerifierKey:
    """The public key that the tenant's file pins, with the log's name. Raises ConfigError."""
    return ledger_key(road.tenant)


def ledger_key(tenant: Tenant) -> VerifierKey:
    """The same of a tenant that need not run."""
    pinned = tenant.settings.text("pinned.ledger_key")
    if not pinned:
        raise ConfigError(f"{tenant.file}: pinned.ledger_key is empty; restore it from a copy of the file")
    return VerifierKey(tenant.settings.text("ledger.origin") or f"bulkhead/{tenant.id}", base64.b64decode(pinned))


def _verified(road: Road, text: str) -> Checkpoint:
    key = log_key(road)
    return verify_checkpoint(parse_note(text.encode()), key.name, key)


def _kept_checkpoint(road: Road, name: str) -> Checkpoint:
    try:
        with Path(name).open("rb") as file:
            text = file.read(NOTE_MAX + 1).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is no checkpoint") from None
    try:
        return _verified(road, text)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.public}") from None


async def read_entries(road: Road, first: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
    """Index and bytes of the entries from `first` up to `end`. Raises IntegrityError where one is withheld."""
    while first < end:
        page = await road.ask("ledger", ReadEntries(first, min(EVENTS_MAX, end - first)))
        if page.first != first or not page.entries:
            raise IntegrityError(f"the ledger withholds entry {first}, which its checkpoint covers")
        for entry in page.entries:
            yield first, entry
            first += 1


async def _list(road: Road, first: int, limit: int) -> tuple[int, list[tuple[int, Event]]]:
    async with road:
        checkpoint, _ = await read_checkpoint(road)
        end = min(checkpoint.size, first + limit) if limit else checkpoint.size
        return checkpoint.size, [(index, parse_event(entry)) async for index, entry in read_entries(road, first, end)]


async def _verify(road: Road, earlier: Checkpoint | None) -> tuple[Checkpoint, str]:
    async with road:
        checkpoint, text = await read_checkpoint(road)
        frontier = Frontier()
        async for index, entry in read_entries(road, 0, checkpoint.size):
            try:
                parse_event(entry)
            except IntegrityError as error:
                raise IntegrityError(f"entry {index}: {error.public}") from None
            frontier.append(leaf_hash(entry))
        if frontier.root() != checkpoint.root:
            raise IntegrityError(
                "the entries do not lead to the root that the ledger signed: keep both, raise the alarm"
            )
        if earlier is not None:
            await _check_extends(road, earlier, checkpoint)
        return checkpoint, text


async def _check_extends(road: Road, earlier: Checkpoint, now: Checkpoint) -> None:
    if earlier.size > now.size:
        raise IntegrityError(f"the log had {earlier.size} entries and has {now.size}: history was cut; raise the alarm")
    if earlier.size in {0, now.size}:
        if earlier.size and earlier.root != now.root:
            raise IntegrityError("the log has another root at the same size: history was rewritten; raise the alarm")
        return
    proof = (await road.ask("ledger", ProveConsistency(earlier.size, now.size))).hashes
    verify_consistency(earlier.size, now.size, list(proof), earlier.root, now.root)


async def _prove(road: Road, index: int) -> dict[str, Any]:
    async with road:
        checkpoint, text = await read_checkpoint(road)
        proof = (await road.ask("ledger", ProveInclusion(index, checkpoint.size))).hashes
        entry = (await road.ask("ledger", ReadEntries(index, 1))).entries[0]
    leaf = leaf_hash(entry)
    verify_inclusion(leaf, index, checkpoint.size, list(proof), checkpoint.root)
    return {
        "tenant": road.tenant.id, "index": index, "size": checkpoint.size, "entry": entry.decode(),
        "leaf": leaf.hex(), "hashes": [value.hex() for value in proof], "checkpoint": text,
    }  # fmt: skip


def _subjects(event: Event) -> str:
    return " ".join(subject.hex() for subject in event.subjects) or "-"


def _details(event: Event) -> str:
    return " ".join(f"{name}={value}" for name, value in event.details.items()) or "-"
