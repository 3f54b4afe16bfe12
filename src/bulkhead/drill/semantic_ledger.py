"""ledger is stopped, full or hostile: what narrows reach goes on, what widens it waits, history stays."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents
from bulkhead.drill.bare_cell import WITNESS, BareCell, letter, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error, IntegrityError, TemporaryFailure
from bulkhead.ledger.create import origin_of, public_key, signer_of
from bulkhead.ledger.event import EVENTS, Event, encode_event
from bulkhead.ledger.export import exported_files, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NOTE_MAX, Checkpoint, VerifierKey
from bulkhead.ledger.proof import ExportTree
from bulkhead.ledger.verify import VerifiedLog, verify_export
from bulkhead.ledger.witness import Reading, Witness

SECONDS = 1.0
_Ask = tuple[str, Request[Any]]


def now() -> int:
    """ms since 1970: an epoch."""
    return int(time.time() * 1000)


async def _takes(cell: BareCell, compartment: str, request: Request[Any]) -> bool:
    try:
        await cell.exchanges["cli"].to(compartment).call(request, timeout=SECONDS)
    except Error:
        return False
    return True


async def _without(cell: BareCell, away: Callable[[], Awaitable[object]]) -> Finding:
    """Stops, logins and mail while the ledger is away must work; lifts must not. Then it is back, and lifts do."""
    person = await cell.add_person()
    await away()
    cli: list[_Ask] = [
        ("auth", to_auth.StopTenantLogins(stamp(), now(), "drill")),
        ("keyring", to_keyring.StopTenantSessions(stamp(), now(), True, True, "drill")),
        ("keyring", to_keyring.SetHalfState(stamp(), person.account, 2)),
        ("keyring", to_keyring.SetHalfState(stamp(), person.account, 1)),
    ]
    reached = int(not await cell.admits("access", person))
    for compartment, request in cli:
        reached += not await _takes(cell, compartment, request)
    await cell.deliver(person, letter())
    reached += await cell.admits("access", person)  # stopped
    lifts: list[_Ask] = [
        ("auth", to_auth.LiftTenantStop(stamp(), now() + 1, "drill")),
        ("keyring", to_keyring.LiftSessionStop(stamp(), now() + 1, "drill")),
    ]
    for compartment, request in lifts:
        reached += await _takes(cell, compartment, request)
    reached += await cell.admits("access", person)
    if "ledger" in cell.exchanges:
        await cell.stop("ledger")
    await cell.start("ledger")
    control = await _takes(cell, "auth", to_auth.LiftTenantStop(stamp(), now() + 2, "drill"))
    control = control and await _takes(cell, "keyring", to_keyring.LiftSessionStop(stamp(), now() + 2, "drill"))
    await asyncio.sleep(0.05)
    return Finding(reached, 9, control and await cell.admits("access", person))


async def stopped(cell: BareCell) -> Finding:
    """No ledger at all."""
    return await _without(cell, lambda: cell.stop("ledger"))


async def full(cell: BareCell) -> Finding:
    """A ledger whose disk is full, or that says so."""

    def refuse(*_: object) -> Appended:
        raise TemporaryFailure("the ledger could not be written", code="storage")

    handlers: Mapping[Any, Any] = {AppendEvents: refuse}
    return await _without(cell, lambda: cell.replace("ledger", None, handlers))


async def withhold(cell: BareCell) -> Finding:
    """Residue: it says that an event is written, and writes none: a lift takes effect of which no one can know."""
    person = await cell.add_person()
    handlers: Mapping[Any, Any] = {AppendEvents: lambda *_: Appended(0)}
    await _takes(cell, "auth", to_auth.StopTenantLogins(stamp(), now(), "drill"))
    held = not await cell.admits("access", person)
    await cell.replace("ledger", None, handlers)
    reached = await _takes(cell, "auth", to_auth.LiftTenantStop(stamp(), now() + 1, "drill"))
    return Finding(int(reached), 1, held, "the partner sees that its own order is not in the log")


class _Partner:
    """Verifies exports offline and remembers the last checkpoint."""

    def __init__(self, cell: BareCell) -> None:
        self.origin = origin_of(cell.tenant)
        self.key = VerifierKey(self.origin, public_key(cell.ledger_keys))

    def verify(self, files: DirectoryFiles, previous: Checkpoint | None) -> VerifiedLog | None:
        """What holds, or None."""
        try:
            return verify_export(files, self.origin, self.key, previous=previous)
        except IntegrityError:
            return None


def _log(cell: BareCell, name: str, reasons: list[str]) -> DirectoryFiles:
    """An export of a log with these events, signed by the real key, as a hostile ledger can make any."""
    home, out = cell.root / name, cell.root / f"{name}-export"
    home.mkdir()
    out.mkdir()
    origin = origin_of(cell.tenant)
    signer, files = signer_of(cell.ledger_keys, origin), DirectoryFiles(str(home))
    create_log(files, signer, origin)
    log = open_log(files, signer, origin)
    events = [Event(EVENTS["StopLogins"], 1_700_000_000_000, "drill", (), {"reason": reason}) for reason in reasons]
    log.append([encode_event(event) for event in events])
    exported = DirectoryFiles(str(out))
    write_export(exported_files(log), exported)
    log.close()
    return exported


async def rewrite(cell: BareCell) -> Finding:
    """History that is cut, changed, forked or damaged, under a genuine signature, shown to who saw the real one."""
    partner = _Partner(cell)
    honest = [f"event {number}" for number in range(300)]
    first = partner.verify(_log(cell, "first", honest), None)
    if first is None:
        return Finding(0, 1, False, "the honest export does not verify")
    seen = first.checkpoint
    grown = partner.verify(_log(cell, "grown", [*honest, "later"]), seen)
    changed = [*honest[:7], "nothing happened", *honest[8:]]
    cases = {
        "cut": honest[:299], "changed": changed, "forked": [*changed, "later"], "emptied": ["event 0"],
        "reordered": [*honest[1:], honest[0], "later"],
    }  # fmt: skip
    reached, control = 0, grown is not None
    for name, reasons in cases.items():
        files = _log(cell, name, reasons)
        reached += partner.verify(files, seen) is not None
        control = control and partner.verify(files, None) is not None  # a partner that remembers nothing
    path = next(
        path for path in sorted((cell.root / "first-export").rglob("*")) if path.is_file() and "entries" in str(path)
    )
    reached += _damaged(partner, path, cell.root / "first-export")
    return Finding(reached, len(cases) + 1, control, "two who are shown two logs see it once they compare checkpoints")


async def witnessed(cell: BareCell) -> Finding:
    """The partner's witness, with its state on disk, is shown the log put back, forked and signed by another key."""
    origin = origin_of(cell.tenant)
    honest = [f"event {number}" for number in range(300)]
    log_key = VerifierKey(origin, public_key(cell.ledger_keys))
    home = cell.root / "witness"
    home.mkdir()

    async def signs(files: DirectoryFiles, state: Path) -> bool:
        witness = Witness(DirectoryFiles(str(state)), WITNESS, log_key)
        try:
            note, checkpoint = witness.check(files.read("checkpoint", limit=NOTE_MAX))
            reading, copy = Reading(witness.seen), ExportTree(files, checkpoint.size)
            for index in range(reading.frontier.size, checkpoint.size):
                reading.take(copy.entry(index))
            witness.cosign(note, reading, time=1_700_000_000)
        except IntegrityError:
            return False
        finally:
            witness.close()
        return True

    control = await signs(_log(cell, "seen", honest), home) and await signs(_log(cell, "on", [*honest, "later"]), home)
    cases = {"back": honest[:200], "other": [*honest[:7], "none", *honest[8:], "later"], "short": honest,
             "fork": [*honest[:7], "none", *honest[8:], "later", "more"]}  # fmt: skip
    reached = 0
    for name, reasons in cases.items():
        reached += await signs(_log(cell, f"w-{name}", reasons), home)
        forgetful = cell.root / f"forgetful-{name}"
        forgetful.mkdir()
        control = control and await signs(DirectoryFiles(str(cell.root / f"w-{name}-export")), forgetful)
    return Finding(reached, len(cases), control)


def _damaged(partner: _Partner, path: Path, export: Path) -> bool:
    """Whether one changed octet of an entry goes unnoticed."""
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    return partner.verify(DirectoryFiles(str(export)), None) is not None


ACTS = (
    SemanticAct(
        "ledger-stopped", "ledger", (Column.ORDERS, Column.AVAILABILITY),
        "logins, stops, suspensions, mail without ledger; lifts", "a stop waits, or a lift does not",
        "lifts with a ledger", stopped,
    ),
    SemanticAct(
        "ledger-full", "ledger", (Column.ORDERS, Column.AVAILABILITY), "the same with a ledger that takes nothing",
        "a stop waits, or a lift does not", "lifts with a ledger", full,
    ),
    SemanticAct(
        "ledger-withholds", "ledger", (Column.AVAILABILITY,), "a lift that the ledger says it wrote, and did not",
        "the lift takes effect", "before the lift nobody is admitted", withhold, 1,
        "new events can be withheld until witnesses cosign each checkpoint; what was exported cannot be changed",
    ),
    SemanticAct(
        "ledger-rewrites", "ledger", (Column.ORDERS, Column.PERSISTENCE),
        "history cut, changed, forked, reordered, damaged under the real key",
        "a partner that saw the real one accepts it",
        "a partner that remembers nothing", rewrite,
    ),
    SemanticAct(
        "ledger-before-witness", "ledger", (Column.ORDERS, Column.PERSISTENCE),
        "a log put back or forked under the real key, shown to the partner's witness",
        "the witness cosigns it", "it cosigns what extends, and a witness without a memory signs each", witnessed,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
