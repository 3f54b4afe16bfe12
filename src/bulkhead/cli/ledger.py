"""`ledger TENANT list|verify|prove`: reads over the road, and believes only what verifies under the pinned key.

With --key the same words are about an export: ledger_offline.py.
"""

import argparse
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

from bulkhead.boundary.messages.to_ledger import (
    EVENTS_MAX,
    ProveConsistency,
    ProveInclusion,
    ReadCheckpoint,
    ReadEntries,
)
from bulkhead.cli import ledger_offline
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.config import Tenant, write_file
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.merkle import Frontier, leaf_hash, verify_consistency
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    SignatureType,
    VerifierKey,
    parse_note,
    verify_cosignature,
)
from bulkhead.ledger.proof import Consistency, Inclusion
from bulkhead.ledger.verify import check_not_smaller, forked, parse_signed, verify_signed

VERIFIED = ("origin", "size", "root", "extends", "cosigned")


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
    if options.key:
        return ledger_offline.verify(options)
    with ledger_offline.telling(options, dict.fromkeys(VERIFIED) | {"tenant": options.tenant}):
        return _verify_live(options)


def _verify_live(options: argparse.Namespace) -> int:
    road = open_road(options.directory, options.tenant)
    earlier = _kept_checkpoint(road, options.since) if options.since else None
    checkpoint, text = wait_for(_verify(road, earlier))
    cosigned = None
    if options.witness:
        witness = ledger_offline.public_key(options.witness, SignatureType.COSIGNATURE)
        cosigned = verify_cosignature(parse_note(text.encode()), witness)
    if options.keep:
        write_file(Path(options.keep), text, replace=True)
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.hex(), "extends": earlier.size if earlier else None, "cosigned": cosigned,
            "alarm": None, "problem": None,
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
    """Print an entry with its proof, or that the log extends an earlier checkpoint."""
    if (options.index is None) == (not options.since) or (options.index or 0) < 0:
        raise ConfigError("give either INDEX, from 0, or --from FILE")
    if options.key:
        proof, size = ledger_offline.prove(options)
    else:
        road = open_road(options.directory, options.tenant)
        seen = _kept_checkpoint(road, options.since) if options.since else None
        proof, size = wait_for(_prove(road, options.index or 0, seen))
    if options.to:
        write_file(Path(options.to), proof.encode().decode(), replace=True)
    document = ledger_offline.proof_document(options.tenant, proof, size)
    if options.json:
        print_json(options.command, document)
        return 0
    if isinstance(proof, Inclusion):
        print(f"entry {document['index']} of {document['size']}: {document['entry']}")
        print(f"leaf {document['leaf']}")
    else:
        print(f"the first {proof.old} of {size} entries are those of the checkpoint in {options.since}")
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
    return verify_signed(parse_signed(text.encode(), "checkpoint", key), "checkpoint", key.name, key)


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
            raise IntegrityError(
                f"the ledger withholds entry {first}, which its checkpoint covers", code=Alarm.WITHHELD.value
            )
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
    check_not_smaller(earlier, now)
    if earlier.size in {0, now.size}:
        return
    proof = (await road.ask("ledger", ProveConsistency(earlier.size, now.size))).hashes
    try:
        verify_consistency(earlier.size, now.size, list(proof), earlier.root, now.root)
    except IntegrityError:
        raise forked(earlier) from None


async def _prove(road: Road, index: int, seen: Checkpoint | None) -> tuple[Inclusion | Consistency, int]:
    """The proof, checked, and the size of its tree."""
    key = log_key(road)
    async with road:
        checkpoint, text = await read_checkpoint(road)
        note = parse_note(text.encode())
        if seen is not None:
            check_not_smaller(seen, checkpoint)
            hashes = (await road.ask("ledger", ProveConsistency(seen.size, checkpoint.size))).hashes
            extension = Consistency(seen.size, hashes, note)
            extension.check(key, seen)
            return extension, checkpoint.size
        hashes = (await road.ask("ledger", ProveInclusion(index, checkpoint.size))).hashes
        entry = (await road.ask("ledger", ReadEntries(index, 1))).entries[0]
    proof = Inclusion(entry, index, hashes, note)
    proof.check(key)
    return proof, checkpoint.size


def _subjects(event: Event) -> str:
    return " ".join(subject.hex() for subject in event.subjects) or "-"


def _details(event: Event) -> str:
    return " ".join(f"{name}={value}" for name, value in event.details.items()) or "-"
