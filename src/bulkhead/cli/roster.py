"""`officer roster make|sign|show|install`."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.orders import RootSignature, RosterState
from bulkhead.boundary.messages.to_incident import AutomaticKey, AutomaticOfficer, LearnRoster, ReadAutomatic
from bulkhead.boundary.orders import EXECUTORS, ORDERS
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.officer import read_officer_key
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Error, IntegrityError, PeerError, Refused
from bulkhead.identifiers import parse_tenant_id
from bulkhead.records.canonical import base64_text, require_base64
from bulkhead.records.officer import KeyType, OfficerKey, Role
from bulkhead.records.officer_file import ROOTS
from bulkhead.records.roster import (
    NO_ROSTER,
    Officer,
    Policy,
    RootKey,
    Roots,
    Roster,
    decode_roster,
    roster_hash,
    sign_roster,
)
from bulkhead.records.signed_file import FILE_MAX, RosterFile, read_roster_file

INSTALL_SECONDS = 30.0
MACHINES_MAX = 16  # of a roster, told to incident


def make(options: argparse.Namespace) -> int:
    """Write the next roster, without signatures."""
    previous = read_roster(Path(options.previous)) if options.previous else None
    version, before = 0, NO_ROSTER
    if previous is not None:
        version, before = decode_roster(previous.statement).version, roster_hash(previous.statement)
    recovery = {"partner": options.recovery_partner, "operator": options.recovery_operator}
    try:
        roster = Roster(
            parse_tenant_id(options.tenant), version + 1, before, int(time.time() * 1000), _officers(options.officers),
            Policy(options.refuse_local, _quorums(options.quorum), _dailies(options.daily)),
            {name: require_base64(key, "a recovery key", 32) for name, key in recovery.items() if key},
            options.log, tuple(options.witness),
        )  # fmt: skip
        data = roster.encode()
    except (ValueError, IntegrityError, PeerError) as error:
        raise ConfigError(str(error)) from None
    write_file(Path(options.out), RosterFile(data).render(), mode=0o644)
    say(f"{options.out}: roster {roster.version} of {roster.tenant}; next: its roots sign it")
    print(roster_hash(data).hex())
    return 0


def sign(options: argparse.Namespace) -> int:
    """Show the roster, and add a root's signature."""
    path = Path(options.file)
    file = read_roster(path)
    _tell(file)
    key = read_officer_key(options)
    if key.role not in ROOTS:
        raise ConfigError(f"{options.key} is the key of an officer; a roster is signed by roots")
    signed = file.with_signature(sign_roster(file.statement, key.private_key))
    write_file(path, signed.render(), replace=True, mode=0o644)
    say(f"{path}: signed by {key.public_line()}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show it; verify it where roots are given."""
    file = read_roster(Path(options.file))
    _tell(file)
    if options.root:
        Roots(tuple(RootKey.parse(text) for text in options.root)).check(file.statement, file.signatures)
        print("signed by enough of the given roots")
    return 0


def install(options: argparse.Namespace) -> int:
    """Have every executor take them, one after the other."""
    files = [read_roster(Path(name)) for name in options.files]
    rows = wait_for(_install(open_road(options.directory, options.tenant), files))
    worst = max(row.pop("exit") for row in rows)
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "executors": rows})
        return int(worst)
    for row in rows:
        if row["error"] is None:
            print(f"{options.tenant}: {row['compartment']}: roster {row['version']} is in force")
        else:
            say(f"{options.tenant}: {row['compartment']}: NOT taken: {row['error']}")
    return int(worst)


def automatic(options: argparse.Namespace) -> int:
    """The line of incident's key for `officer roster make`, and under which roster it signs now."""
    state = wait_for(_ask_automatic(open_road(options.directory, options.tenant)))
    if not state.public:
        raise ConfigError("this installation was made without a key for automatic orders")
    key = OfficerKey(KeyType.ED25519, state.public)
    document = {
        "tenant": options.tenant, "key": base64_text(state.public), "id": key.id.hex(), "roster": state.version,
        "officer": state.officer or None,
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
        return 0
    print(f"incident automatic {KeyType.ED25519.value} {base64_text(state.public)}")
    say(f"in roster {state.version} as {state.officer}" if state.officer else "in no roster that is in force here")
    return 0


async def _ask_automatic(road: Road) -> AutomaticKey:
    async with road:
        return await road.ask("incident", ReadAutomatic())


def read_roster(path: Path) -> RosterFile:
    """The roster of a file, whose form is checked and whose signatures are not. Raises ConfigError, IntegrityError."""
    file = read_roster_file(read_text(path))
    decode_roster(file.statement)
    return file


def read_text(path: Path) -> str:
    """A file that people pass on. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_MAX + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def install_request(compartment: str, file: RosterFile) -> Request[RosterState]:
    """What a compartment is asked."""
    signatures = tuple(RootSignature(root, one) for root, one in file.signatures)
    match compartment:
        case "auth":
            return to_auth.InstallRoster(stamp(), file.statement, signatures)
        case "keyring":
            return to_keyring.InstallRoster(stamp(), file.statement, signatures)
        case "queue":
            return to_queue.InstallRoster(stamp(), file.statement, signatures)
        case "directory":
            return to_directory.InstallRoster(stamp(), file.statement, signatures)
    return to_store.InstallRoster(stamp(), file.statement, signatures)


async def _install(road: Road, files: Sequence[RosterFile]) -> list[dict[str, Any]]:
    async with road:
        rows = [await _install_at(road, name, files) for name in EXECUTORS]
        if all(row["error"] is None for row in rows):
            await _tell_incident(road, files[-1].statement)
        return rows


async def _tell_incident(road: Road, statement: bytes) -> None:
    """Under which roster automatic orders are made from now on."""
    roster = decode_roster(statement)
    machines = [
        AutomaticOfficer(officer.name, key.id)
        for officer in roster.officers
        if officer.role is Role.AUTOMATIC
        for key in officer.keys
    ]
    request = LearnRoster(stamp(), roster.version, roster_hash(statement), tuple(machines[:MACHINES_MAX]))
    try:
        await road.ask("incident", request)
    except Error as error:
        say(f"incident does not know the roster, and orders nothing by itself: {error.public}; give the command again")


async def _install_at(road: Road, compartment: str, files: Sequence[RosterFile]) -> dict[str, Any]:
    row: dict[str, Any] = {"compartment": compartment, "version": 0, "error": None, "code": None, "exit": ExitCode.OK}
    for file in files:
        try:
            state = await road.ask(compartment, install_request(compartment, file), timeout=INSTALL_SECONDS)
        except Refused as refusal:
            if refusal.code == "old-roster" and file is not files[-1]:
                continue
            return {**row, "error": refusal.public, "code": refusal.code, "exit": ExitCode.REFUSED}
        except Error as error:
            return {**row, "error": error.public, "code": error.code, "exit": exit_code_of(error)}
        row["version"] = state.version
    return row


def _tell(file: RosterFile) -> None:
    roster = decode_roster(file.statement)
    local = "refused" if roster.policy.local_refused else "allowed"
    print(f"roster {roster.version} of {roster.tenant}, made {time_text(roster.issued)}")
    print(f"hash {roster_hash(file.statement).hex()}")
    print(f"follows {roster.previous.hex()}")
    print(f"what needs an order is {local} to the local command line")
    print_table(
        ("OFFICER", "ROLE", "FROM", "UNTIL", "KEYS"),
        [
            (
                officer.name, officer.role.value, time_text(officer.since), time_text(officer.until),
                " ".join(f"{key.type.value}:{key.id.hex()[:8]}" for key in officer.keys),
            )
            for officer in roster.officers
        ],
    )  # fmt: skip
    for action, groups in roster.policy.quorum.items():
        print(f"{action}: at least " + " AND ".join(f"{count} of {group}" for group, count in groups.items()))
    for action, count in roster.policy.daily.items():
        print(f"{action}: at most {count} a day")
    print(f"signed by {len(file.signatures)} roots")


def _officers(name: str) -> tuple[Officer, ...]:
    text = sys.stdin.read(FILE_MAX) if name == "-" else read_text(Path(name))
    found: dict[str, Officer] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        officer = _officer(words)
        known = found.get(officer.name)
        if known is not None and known.role is not officer.role:
            raise ConfigError(f"{officer.name} has two roles; an officer has one")
        keys = (*(known.keys if known else ()), *officer.keys)
        found[officer.name] = Officer(officer.name, officer.role, 0, 0, keys)
    return tuple(found.values())


def _officer(words: list[str]) -> Officer:
    try:
        name, role, kind, key = words[:4]
        public = require_base64(key, "a key", 65)
        made = OfficerKey(KeyType(kind), public, *words[4:6])
        if len(words) != (6 if made.is_passkey else 4):
            raise ValueError("words")
        made.load()
        return Officer(name, Role(role), 0, 0, (made,))
    except (ValueError, TypeError, IntegrityError):
        raise ConfigError(f"no public line of an officer's key: {' '.join(words)[:80]!r}") from None


def _quorums(texts: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for text in texts:
        action, _, rest = text.partition(":")
        group, _, count = rest.partition("=")
        if action not in ORDERS or group not in ("partner", "operator") or not count.isdecimal():
            raise ConfigError(f"--quorum {text!r}: must be ACTION:GROUP=N, such as stop-logins:partner=2")
        found.setdefault(action, {})[group] = int(count)
    return found


def _dailies(texts: Sequence[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for text in texts:
        action, _, count = text.partition("=")
        if action not in ORDERS or not count.isdecimal():
            raise ConfigError(f"--daily {text!r}: must be ACTION=N, such as cancel-account=20")
        found[action] = int(count)
    return found
