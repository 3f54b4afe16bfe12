"""`bulkhead demo breach`: breaks into one compartment of the running demonstration, counts, contains, counts again."""

import argparse
import json
import os
import pwd
import shlex
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_auth import AuthCounts, CountCredentials
from bulkhead.boundary.messages.to_directory import AccountCounts, CountAccounts
from bulkhead.boundary.messages.to_keyring import CountKeyring, KeyringCounts
from bulkhead.boundary.messages.to_store import CountStore, StoreCounts
from bulkhead.boundary.processes import PROCESSES
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.exposure import rows_of
from bulkhead.cli.many import Answer, Asked, ask_all
from bulkhead.cli.output import print_table, say
from bulkhead.cli.records import open_auth
from bulkhead.cli.road import wait_for
from bulkhead.cli.status import status_rows
from bulkhead.config import Installation, load_installation
from bulkhead.demo.attack import (
    Findings,
    Neighbours,
    ask_neighbours,
    rule_to_break,
    strike_locked,
    strike_unlocked,
)
from bulkhead.demo.booty import goals, planted
from bulkhead.demo.components import components
from bulkhead.demo.contain import contain, order
from bulkhead.demo.endpoints import endpoints_of, trust
from bulkhead.demo.figures import Figures, Holdings, Tried, count_probes, headline, matrix, measure, text_lines
from bulkhead.demo.people import Subscriber, read_people
from bulkhead.demo.picture import picture
from bulkhead.demo.progress import Progress
from bulkhead.drill.client import TwinClient
from bulkhead.errors import ConfigError, Refused, TemporaryFailure
from bulkhead.supervisor.layout import Layout

COUNT_SECONDS = 30.0
HONEST = "access"  # its sessions have strangers in other workers


@dataclass(slots=True)
class Attack:
    """What the two twins and the control brought."""

    locked: Findings
    unlocked: Findings
    neighbours: Neighbours
    ended_by: str
    twin_ms: float


def run(options: argparse.Namespace) -> int:
    """0 when the walls held, 1 when something was reached or disturbed."""
    directory = Path(options.directory).absolute()
    installation = load_installation(directory)
    tenant, compartment = _target(installation, options.target)
    people = read_people(directory)
    progress = Progress()
    begin = time.monotonic()
    processes = _running(installation, tenant)
    answers = _ask(installation)
    holdings = _holdings(answers)
    attack = _attack(directory, installation, (tenant, compartment), people, processes, progress)
    pids = [row["pid"] for row in processes if (row["tenant"], row["compartment"]) == (tenant, compartment)]
    parts = components([row for row in processes if row["compartment"] in PROCESSES], pids)
    progress.begin(f"{tenant} stops its logins and sessions")
    endpoints = endpoints_of(installation)
    contained = contain(directory, endpoints, people, trust(directory), tenant, progress.at)
    progress.end(f"{contained.round_trips - len(contained.errors)} round trips through the others")
    probes = count_probes(attack.locked.probes, attack.unlocked.probes)
    figures = Figures(
        tenant=tenant,
        compartment=compartment,
        as_of=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        level=str(max((row["level"] or "-" for row in processes if row["compartment"] == compartment), default="-")),
        user=_user(),
        seconds=round(time.monotonic() - begin, 1),
        twin_ms=attack.twin_ms,
        measures=measure((tenant, compartment), holdings, attack.locked, attack.unlocked, attack.neighbours),
        live_sessions=attack.neighbours.live_sessions,
        live_messages=attack.neighbours.live_messages,
        cells=matrix(holdings, attack.locked, attack.unlocked),
        goals=Tried(attack.locked.tried, attack.locked.goals_reached, attack.unlocked.goals_reached),
        probes=probes,
        notes=tuple(attack.neighbours.notes),
        ended_by=attack.ended_by,
        components=tuple(parts),
        containment=contained,
        exposure=tuple(_exposure(answers, tenant, compartment, attack)),
    )
    _show(figures, options)
    if options.lift:
        order(directory, tenant, lift=True)
        say(f"{tenant}: logins are admitted again")
    elif options.json != "-":
        print(f"\n{tenant} stays stopped. Lift it: bulkhead stop {tenant} --lift -C {shlex.quote(options.directory)}")
    return ExitCode.OK if figures.held else ExitCode.FINDING


def _target(installation: Installation, text: str) -> tuple[str, str]:
    """Tenant and compartment. Raises ConfigError."""
    tenant, slash, compartment = text.partition("/")
    if not slash or compartment not in PROCESSES:
        raise ConfigError(f"{text}: name TENANT/COMPARTMENT; compartments are {', '.join(PROCESSES)}")
    return str(installation.tenant(tenant).id), compartment


def _running(installation: Installation, tenant: str) -> list[dict[str, Any]]:
    """Rows of every process. Raises TemporaryFailure unless every cell runs, Refused where logins stand stopped."""
    tenants, processes = status_rows(installation)
    away = [row["tenant"] for row in tenants if row["pid"] is None]
    if away:
        raise TemporaryFailure(
            f"not running: {', '.join(away)}; start the demonstration: bulkhead demo -C {installation.directory}",
            code="not-running",
        )
    return processes


def _ask(installation: Installation) -> list[Answer]:
    """The counts of every cell. Raises TemporaryFailure, and Refused where a stop is still in force."""
    requests: list[tuple[str, Asked]] = [
        ("directory", CountAccounts()), ("auth", open_auth), ("auth", CountCredentials()),
        ("keyring", CountKeyring()), ("store", CountStore()),
    ]  # fmt: skip
    answers = wait_for(ask_all(installation, list(installation.tenants.values()), requests, COUNT_SECONDS))
    for answer in answers:
        if answer.error is not None:
            raise TemporaryFailure(f"{answer.tenant}/{answer.compartment}: {answer.error.public}", code="not-running")
        if isinstance(answer.reply, AuthCounts | KeyringCounts) and answer.reply.stopped:
            raise Refused(
                f"{answer.tenant}'s logins are stopped, perhaps by an earlier breach; lift that first: "
                f"bulkhead stop {answer.tenant} --lift -C {installation.directory}"
            )
    return answers


def _holdings(answers: list[Answer]) -> dict[str, Holdings]:
    found = {(answer.tenant, type(answer.reply)): answer.reply for answer in answers}
    return {
        tenant: Holdings(
            addresses=found[tenant, AccountCounts].addresses,
            verifiers=found[tenant, AuthCounts].credentials,
            messages=found[tenant, StoreCounts].messages,
        )
        for tenant in dict.fromkeys(answer.tenant for answer in answers)
    }


def _attack(
    directory: Path,
    installation: Installation,
    target: tuple[str, str],
    people: list[Subscriber],
    processes: list[dict[str, Any]],
    progress: Progress,
) -> Attack:
    """The control first, while this process has one thread; then the twin, and for access an honest second worker."""
    tenant, compartment = target
    layout = Layout(directory, installation.tenant(tenant).id)
    own = [person for person in people if person.tenant == tenant]
    with planted(directory, [str(t) for t in installation.tenants]) as canaries, ExitStack() as stack:
        everything = goals(directory, endpoints_of(installation), canaries, processes, frozenset())
        progress.begin("the control: nothing locked")
        unlocked = strike_unlocked(everything, compartment)
        progress.end(f"{unlocked.goals_reached} of {unlocked.tried} targets reached")
        progress.begin(f"a hostile twin of {tenant}/{compartment}")
        twin = stack.enter_context(TwinClient(layout, compartment))
        honest = stack.enter_context(TwinClient(layout, compartment)) if compartment == HONEST else None
        locked = strike_locked(twin, everything, compartment)
        token = canaries[target][1] if target in canaries else ""
        neighbours = ask_neighbours(twin, honest, compartment, own, token)
        ended_by = rule_to_break(compartment)
        if ended_by:
            twin.ask("edges.break_the_rules", compartment=ended_by)
            ended_by = ended_by if _ends(twin) else ""
        progress.end(f"{locked.goals_reached} of {locked.tried} targets reached")
        return Attack(locked, unlocked, neighbours, ended_by, round(twin.seconds * 1000, 1))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _ends(twin: TwinClient) -> bool:
    """Whether the twin is ended within a second."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if twin.ask("edge-names")["answer"] == "ended":
            return True
        time.sleep(0.01)
    return False


def _exposure(answers: list[Answer], tenant: str, compartment: str, attack: Attack) -> list[Mapping[str, Any]]:
    """Rows of the tenant: what the twin reached as ceiling, what a compartment besides holds as outside its reach."""
    rows: list[Mapping[str, Any]] = []
    if attack.neighbours.live_sessions:
        rows += [
            {
                "tenant": tenant, "status": "live", "item": item, "scheme": scheme, "count": count,
                "held_by": compartment, "grade": "ceiling",
            }
            for item, scheme, count in (
                ("mail of live sessions", "in clear", attack.neighbours.live_messages),
                ("passwords typed there", "in clear", attack.neighbours.live_sessions),
            )
        ]  # fmt: skip
    for answer in answers:
        if answer.tenant == tenant and not isinstance(answer.reply, AuthCounts):
            for row in rows_of(answer):
                reached = answer.compartment == compartment or attack.locked.holds(tenant, answer.compartment)
                grade = "ceiling" if reached else "not reached"
                keys = ("tenant", "status", "item", "scheme", "count", "held_by")
                rows.append({**{key: row[key] for key in keys}, "grade": grade})
    return rows


def _show(figures: Figures, options: argparse.Namespace) -> None:
    if options.svg:
        Path(options.svg).write_text(picture(figures), encoding="utf-8")
    document = json.dumps(figures.document(), ensure_ascii=False)
    if options.json == "-":
        print(document)
        say(headline(figures))
        return
    if options.json:
        Path(options.json).write_text(document + "\n", encoding="utf-8")
    for line in text_lines(figures):
        print(line)
    print(f"\n4. Exposure of {figures.tenant}, as of {figures.as_of}: the ceiling of what this compartment could reach")
    keys = ("tenant", "status", "item", "scheme", "count", "held_by", "grade")
    head = tuple(key.upper().replace("_", " ") for key in keys)
    print_table(head, [tuple(row[key] for key in keys) for row in figures.exposure])
    for name in (options.svg, options.json):
        if name:
            say(f"written: {name}")
