"""The attack itself: every goal and probe from inside the twin and unlocked beside it, then the honest neighbours.

What counts as reached is decided here and nowhere else, from what the acts gave back.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.demo.booty import Goal
from bulkhead.demo.people import ACTIVE, Subscriber
from bulkhead.drill import acts_files, acts_network, acts_reach, acts_resources
from bulkhead.drill.client import TwinClient
from bulkhead.drill.probes import Probe, Target, load_probes
from bulkhead.drill.targets import Targets, canaries
from bulkhead.drill.twin import write_targets
from bulkhead.supervisor.child import lock_for
from bulkhead.supervisor.control import Fork
from bulkhead.supervisor.lock import Lock
from bulkhead.supervisor.selftest import run_control

SUCCEEDED = "succeeded"
NETWORK = frozenset({"listener", "datagram"})  # kinds of goal
HANDLES = 256  # guessed
REDEMPTIONS = 32  # guessed
PASSWORDS = ("password", "123456", "kddi2026")
# No bare "postmaster": that every server knows it is RFC 5321 section 4.5.1, and lists nobody.
PATTERNS = ("", "%", "*", "_", "' OR 1=1 --", "@", "admin", "root", "test")
# They go at the own directory or an inherited descriptor of a process that the drill made itself: not so this twin.
_NOT_HERE = {
    acts_files.read_guarded, acts_files.keep_a_file, acts_files.make_set_uid_file, acts_network.read_inherited,
    acts_network.find_inherited, acts_resources.grow_file,
}  # fmt: skip
Reached = dict[tuple[str, str], set[str]]
"""(tenant, compartment) to the kinds of goal that were reached there; compartment "" for doors and listeners."""


@dataclass(slots=True)
class Findings:
    """What one run of the goals and probes reached. probes: name to answer."""

    tried: int = 0
    reached: Reached = field(default_factory=dict)
    probes: dict[str, str] = field(default_factory=dict)
    network_goals: int = 0
    network_reached: int = 0
    goals_reached: int = 0

    def holds(self, tenant: str, compartment: str) -> bool:
        """Whether the files or the memory of that compartment were read."""
        return bool(self.reached.get((tenant, compartment), set()) & {"file", "memory"})

    def touched(self, tenant: str) -> bool:
        """Whether anything inside that tenant's cell was reached; its public listeners are the network's."""
        return any(where == tenant and kinds - NETWORK for (where, _), kinds in self.reached.items())

    @property
    def network(self) -> int:
        """Connections made and datagrams sent: to listeners of the cells, and by the probes of the network."""
        table = load_probes()
        return self.network_reached + sum(
            table[name].target is Target.NETWORK and answer == SUCCEEDED for name, answer in self.probes.items()
        )

    @property
    def network_tried(self) -> int:
        """Goals and probes of the network."""
        table = load_probes()
        return self.network_goals + sum(table[name].target is Target.NETWORK for name in self.probes)


def strike(goals: Sequence[Goal], act: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> Findings:
    """Try every goal with `act(name, arguments)`."""
    found = Findings(tried=len(goals), network_goals=sum(goal.kind in NETWORK for goal in goals))
    for goal in goals:
        answer = act(goal.act, goal.arguments)
        if answer["answer"] == SUCCEEDED and (goal.proof is None or goal.proof == answer.get("found")):
            found.goals_reached += 1
            found.network_reached += goal.kind in NETWORK
            found.reached.setdefault((goal.tenant, goal.compartment), set()).add(goal.kind)
    return found


def probes_for(compartment: str) -> list[Probe]:
    """Those that one process can go through in a row, and that this compartment's own duties do not allow."""
    lock = lock_of(compartment)
    root = os.geteuid() == 0
    return [
        probe for probe in load_probes().values()
        if not probe.alone and probe.act not in _NOT_HERE and not probe.granted(lock) and (root or not probe.needs_root)
    ]  # fmt: skip


def lock_of(compartment: str) -> Lock:
    """What that compartment keeps."""
    fork = Fork(PROCESSES[compartment].slot, True, 0, 1, 65_000, 65_000, 1, "/")
    return lock_for(PROCESSES[compartment], fork, frozenset())


def strike_unlocked(goals: Sequence[Goal], compartment: str) -> Findings:
    """The same goals and probes as the starting user, with nothing locked. Call it single-threaded."""
    found = strike(goals, acts_reach.attempt)
    with canaries(lock_of(compartment)) as targets:
        found.probes = dict(run_control(targets, [probe.name for probe in probes_for(compartment)]))
    return found


def strike_locked(twin: TwinClient, goals: Sequence[Goal], compartment: str, names: Set[str] | None = None) -> Findings:
    """The goals and probes inside the twin. names: of the probes, all where it is None."""
    found = strike(goals, lambda name, arguments: twin.ask(f"reach.{name}", **arguments))
    with canaries(lock_of(compartment)) as targets:
        found.probes = _probe(twin, targets, compartment, names)
    return found


def _probe(twin: TwinClient, targets: Targets, compartment: str, names: Set[str] | None) -> dict[str, str]:
    twin.ask("targets", **write_targets(targets))
    return {
        probe.name: twin.ask(
            "probe", act=f"{probe.act.__module__.rpartition('acts_')[2]}.{probe.act.__name__}",
            target=probe.target.value,
        )["answer"]
        for probe in probes_for(compartment)
        if names is None or probe.name in names
    }  # fmt: skip


@dataclass(slots=True)
class Neighbours:
    """What honest neighbours gave away. notes: one line an act, for the reader."""

    live_sessions: int = 0
    live_messages: int = 0
    strangers_read: int = 0
    strangers_deleted: int = 0
    passwords: int = 0
    sessions: int = 0
    addresses: int = 0
    own_disk: bool = False  # the canary in its own directory was found
    notes: list[tuple[str, str]] = field(default_factory=list)


def ask_neighbours(
    twin: TwinClient, honest: TwinClient | None, compartment: str, people: Sequence[Subscriber], token: str
) -> Neighbours:
    """The semantic acts that this compartment's edges allow. honest: a second worker, whose session is a stranger's.

    token: the canary in the compartment's own directory, hex, or empty.
    """
    found = Neighbours()
    active = [person for person in people if person.status == ACTIVE]
    allowed = {name for peering in PEERS if peering.client == compartment for name in peering.requests}
    if PROCESSES[compartment].disk is Disk.DATA and token:
        own = twin.ask("reach.search_own_disk", token=token).get("found") or {}
        found.own_disk = bool(own.get("found"))
        found.notes.append(
            ("its own directory, by duty", f"{own.get('files', 0)} files, {own.get('octets', 0):,} octets")
        )
    if {"FindLogin", "OpenSlots"} <= allowed and honest is not None:
        _hijack(twin, honest, active, found)
    if "FindLogin" in allowed:
        _enumerate(twin, active, found)
    if {"FindLogin", "Authenticate"} <= allowed:
        guesses = twin.ask("edges.guess_passwords", addresses=[p.address for p in active], passwords=list(PASSWORDS))
        found.passwords += int(guesses.get("accepted", 0))
        found.notes.append(("common passwords on every subscriber", f"{found.passwords} of {guesses.get('tried')}"))
    if "RedeemLogin" in allowed:
        redeemed = twin.ask("edges.redeem_guesses", count=REDEMPTIONS)
        found.sessions += int(redeemed.get("sessions", 0))
        found.notes.append(("logins that nobody made, redeemed", f"{found.sessions} of {REDEMPTIONS}"))
    if "CheckHalf" in allowed:
        matched = int(twin.ask("edges.check_halves", count=REDEMPTIONS).get("matched", 0))
        found.passwords += matched
        found.notes.append(("halves of a verifier, guessed at keyring", f"{matched} of {REDEMPTIONS}"))
    if "CheckSender" in allowed:
        allowed_as = twin.ask("edges.check_sender", addresses=[p.address for p in active]).get("allowed")
        found.notes.append(("another's address as sender, made-up account", f"{allowed_as} of {len(active)}"))
    if "ResolveRecipient" in allowed:
        made_up = [f"{p.address.partition('@')[0]}.x@{p.tenant}.example" for p in active]
        known = [p.address for p in active]
        confirmed = twin.ask("edges.guess_recipients", guesses=[*PATTERNS, *made_up])
        told = int(confirmed.get("confirmed", 0))
        found.addresses += told
        by_guess = twin.ask("edges.guess_recipients", guesses=known).get("confirmed")
        found.notes.append(("recipients listed by pattern", f"{told} of {len(PATTERNS) + len(made_up)}"))
        found.notes.append(("recipients confirmed by whoever knows them", f"{by_guess}, as RCPT tells anyone"))
    return found


def _hijack(twin: TwinClient, honest: TwinClient, active: Sequence[Subscriber], found: Neighbours) -> None:
    """A live session in this worker, and a stranger's in another: what each opens from here."""
    visitor, stranger = active[0], active[1]
    theirs = honest.ask("edges.log_in", address=stranger.address, password=stranger.password)
    mail = honest.ask("edges.open_mail", handle=theirs.get("handle", ""), account=theirs.get("account", ""))
    mine = twin.ask("edges.log_in", address=visitor.address, password=visitor.password)
    if mine["answer"] == SUCCEEDED:
        found.live_sessions = 1
        opened = twin.ask("edges.open_mail", handle=mine["handle"], account=mine["account"])
        found.live_messages = int(opened.get("opened", 0))
    example = mail.get("example")
    if example is None or mine["answer"] != SUCCEEDED:
        found.notes.append(("a stranger's session in another worker", f"not tried: {theirs['answer']}"))
        return
    tally: Counter[str] = Counter()
    answers: set[str] = set()
    for handle in (theirs["handle"], mine["handle"]):
        tried = twin.ask("edges.reach_mail", handle=handle, **example).get("tried", {})
        answers |= {code for code in tried.values() if code != SUCCEEDED}
        tally.update(act for act, code in tried.items() if code == SUCCEEDED)
    stolen = twin.ask("edges.use_handle", handle=theirs["handle"]).get("tried", {})
    tally.update(act for act, code in stolen.items() if code == SUCCEEDED)
    served = int(twin.ask("edges.random_handles", count=HANDLES).get("served", 0))
    after = honest.ask("edges.open_mail", handle=theirs["handle"], account=theirs["account"])
    lost = int(mail.get("opened", 0)) - int(after.get("opened", 0))
    # An own session may name any UID of its own mailboxes: only what came of the stranger's message counts.
    found.strangers_read = int(tally["read header"] > 0) + int(tally["open key"] > 0) + served
    found.strangers_deleted = lost
    refusals = ", ".join(sorted(answers)) or "nothing"
    found.notes += [
        (
            "a handle stolen from another worker",
            f"{sum(c == SUCCEEDED for c in stolen.values())} of {len(stolen)} acts",
        ),
        ("a stranger's message, read or opened", f"{found.strangers_read} (answers: {refusals})"),
        ("a stranger's message, deleted", f"{lost} of {mail.get('opened')}"),
        ("handles guessed", f"{served} of {HANDLES}"),
    ]


def _enumerate(twin: TwinClient, active: Sequence[Subscriber], found: Neighbours) -> None:
    known = [person.address for person in active]
    made_up = [address.replace("@", ".x@") for address in known]
    answer = twin.ask("edges.enumerate_logins", guesses=[*PATTERNS[5:], *known, *made_up])
    haul = bytes.fromhex(answer.get("haul", ""))
    listed = sum(address.partition("@")[0].encode() in haul for address in known)
    told_apart = int(answer.get("told_apart", 0))
    found.addresses += max(listed, told_apart)
    found.notes.append(("addresses told by directory, decoys told apart", f"{listed}, {told_apart}"))


def rule_to_break(compartment: str) -> str:
    """A neighbour at which ListMailboxes is forbidden to this compartment, or empty."""
    servers = (p.server for p in PEERS if p.client == compartment and "ListMailboxes" not in p.requests)
    return next(servers, "")
