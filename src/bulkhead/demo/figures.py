"""The figures of one breach: every number measured once, and shown as text, JSON and picture from here alone. PURE."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bulkhead.boundary.processes import PROCESSES, Reach
from bulkhead.demo.attack import SUCCEEDED, Findings, Neighbours
from bulkhead.demo.components import Component
from bulkhead.demo.contain import Containment

SCHEMA = "bulkhead/demo-breach/1"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one tenant's cell holds."""

    addresses: int
    verifiers: int
    messages: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the result: what the twin reached beyond its duty, and the same acts unlocked, of how many.

    by_duty: what the compartment has or does itself, and so loses when it is compromised: addresses of `directory`, in
    clear; messages of `store`, sealed; connections of `dialer`.
    """

    name: str
    locked: int
    unlocked: int
    of: int
    by_duty: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One compartment of one tenant: what it holds (-1: nothing at rest), and whether it was reached."""

    tenant: str
    compartment: str
    holds: int
    locked: bool
    unlocked: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """How many goals or probes, and how many of them succeeded. absent: the kernel has no such thing."""

    tried: int
    locked: int
    unlocked: int
    absent: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that `bulkhead demo breach` found.

    user: who ran the control.   seconds: of the whole act.   twin_ms: to fork, lock and start the twin.
    """

    tenant: str
    compartment: str
    as_of: str
    level: str
    user: str
    seconds: float
    twin_ms: float
    measures: tuple[Measure, ...]
    live_sessions: int
    live_messages: int
    cells: tuple[Cell, ...]
    goals: Tried
    probes: Tried
    notes: tuple[tuple[str, str], ...]
    ended_by: str
    components: tuple[Component, ...]
    containment: Containment
    exposure: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def held(self) -> bool:
        """Whether the walls held: nothing reached that the compartment was not given, and nobody else disturbed."""
        stopped = self.containment
        return (
            not any(measure.locked for measure in self.measures)
            and self.probes.locked == 0
            and not stopped.errors
            and stopped.arrived == stopped.sent
            and stopped.effect_ms is not None
            and stopped.refused_ms is not None
        )

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        found["notes"] = [{"act": act, "result": result} for act, result in self.notes]
        found["containment"]["effect_ms"] = self.containment.effect_ms
        return {"schema": SCHEMA, "held": self.held, **found}


def measure(
    target: tuple[str, str],
    holdings: Mapping[str, Holdings],
    locked: Findings,
    unlocked: Findings,
    neighbours: Neighbours,
) -> tuple[Measure, ...]:
    """The five lines. A verifier counts as reached with both of its halves; mail, however sealed, with its store."""
    others = [tenant for tenant in holdings if tenant != target[0]]
    rows = []
    for found, extra in ((locked, neighbours), (unlocked, Neighbours())):
        rows.append((
            sum(found.touched(tenant) for tenant in others),
            _held(found, holdings, ("auth", "keyring"), "verifiers") + extra.passwords + extra.sessions,
            _held(found, holdings, ("store",), "messages") + extra.strangers_read + extra.strangers_deleted,
            _held(found, holdings, ("directory",), "addresses") + extra.addresses,
            found.network,
        ))  # fmt: skip
    held = list(holdings.values())
    totals = (
        len(others), sum(h.verifiers for h in held), sum(h.messages for h in held), sum(h.addresses for h in held),
        locked.network_tried,
    )  # fmt: skip
    names = ("other ISPs", "verifiers", "stored mail", "addresses", "network")
    own = holdings[target[0]] if neighbours.own_disk else Holdings(0, 0, 0)
    duty = {("directory", "addresses"): own.addresses, ("store", "stored mail"): own.messages}
    if PROCESSES[target[1]].reach is Reach.DIALS:
        duty[target[1], "network"] = locked.network
        rows[0] = (*rows[0][:-1], 0)
    return tuple(
        Measure(name, one, two, of, duty.get((target[1], name), 0))
        for name, one, two, of in zip(names, rows[0], rows[1], totals, strict=True)
    )


def _held(found: Findings, holdings: Mapping[str, Holdings], compartments: Sequence[str], name: str) -> int:
    return sum(
        int(getattr(held, name))
        for tenant, held in holdings.items()
        if all(found.holds(tenant, compartment) for compartment in compartments)
    )


def matrix(holdings: Mapping[str, Holdings], locked: Findings, unlocked: Findings) -> tuple[Cell, ...]:
    """Every compartment of every tenant."""
    shown = {"directory": "addresses", "auth": "verifiers", "keyring": "verifiers", "store": "messages"}
    return tuple(
        Cell(
            tenant, name, int(getattr(held, shown[name])) if name in shown else -1,
            locked.holds(tenant, name), unlocked.holds(tenant, name),
        )
        for name in PROCESSES
        for tenant, held in holdings.items()
    )  # fmt: skip


def count_probes(locked: Mapping[str, str], unlocked: Mapping[str, str]) -> Tried:
    """Of those that worked unlocked or in the twin."""
    return Tried(
        tried=len(locked),
        locked=sum(answer == SUCCEEDED for answer in locked.values()),
        unlocked=sum(unlocked.get(name) == SUCCEEDED for name in locked),
        absent=sum(unlocked.get(name, "").startswith("absent") for name in locked),
    )


def headline(figures: Figures) -> str:
    """`other ISPs 0 of 5 · verifiers 0 of 60 · stored mail 0 of 312 (1 live session: 4 messages) · ...`"""
    parts = []
    for row in figures.measures:
        part = f"{row.name} {row.locked} of {row.of}"
        if row.name == "stored mail" and figures.live_sessions:
            part += f" ({figures.live_sessions} live session: {figures.live_messages} messages)"
        if row.by_duty:
            part += f" (by its duty {row.by_duty}{', sealed' if row.name == 'stored mail' else ''})"
        parts.append(part)
    return " · ".join(parts)


def text_lines(figures: Figures) -> Iterator[str]:
    """The whole result for a terminal."""
    stopped = figures.containment
    where = f"{figures.tenant}/{figures.compartment}"
    yield f"1. Hostile code in a twin of {where}, locked like it ({figures.twin_ms:.0f} ms to make)"
    yield f"   {headline(figures)}"
    unlocked = " · ".join(f"{row.name} {row.unlocked} of {row.of}" for row in figures.measures)
    yield f"   the control, the same acts unlocked as {figures.user}: {unlocked}"
    yield (
        f"   goals: {figures.goals.locked} of {figures.goals.tried} reached, unlocked {figures.goals.unlocked}; "
        f"probes: {figures.probes.locked} of {figures.probes.tried} succeeded, unlocked {figures.probes.unlocked}"
        + (f" ({figures.probes.absent} not in this kernel)" if figures.probes.absent else "")
    )
    blind = figures.goals.tried - figures.goals.unlocked
    if blind:
        yield f"   {blind} goals show nothing, because {figures.user} fails at them unlocked too"
    width = max((len(act) for act, _ in figures.notes), default=0)
    for act, result in figures.notes:
        yield f"   {act:{width}}  {result}"
    if figures.ended_by:
        yield f"   one message that PEERS forbids, sent to {figures.ended_by}: the supervisor ended the twin"
    process = PROCESSES[figures.compartment]
    yield f"   by its charter it holds: {process.holds}; what falls: {process.falls}"
    yield ""
    yield "2. What runs in it, and where else"
    for others, parts in _by_company(figures).items():
        where = "every compartment" if len(others) == len(PROCESSES) - 1 else ", ".join(others) or "nothing else"
        yield f"   also in {where}: {', '.join(parts)}"
    if not figures.components:
        yield "   not readable here: the maps of a locked process are for root alone"
    yield ""
    yield f"3. {figures.tenant} stops its own logins and sessions"
    yield f"   durable in auth and keyring after {_ms(stopped.durable_ms)}; sessions ended: {stopped.sessions_ended}"
    yield f"   a live IMAP session got BYE after {_ms(stopped.bye_ms)}"
    yield f"   a login with the right password was refused, answered after {_ms(stopped.refused_ms)}: {stopped.refusal}"
    yield f"   mail still arrives in {figures.tenant}: {stopped.arrived} of {stopped.sent} messages accepted and stored"
    good = stopped.round_trips - len(stopped.errors)
    yield (
        f"   round trips through the other {len(tenants_of(figures)) - 1}: {good} of {stopped.round_trips} without an "
        f"error, the slowest {stopped.longest_ms:.0f} ms"
    )
    yield from (f"   ! {error}" for error in stopped.errors)


def _by_company(figures: Figures) -> dict[tuple[str, ...], list[str]]:
    """The other compartments to what they map as well, packages first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for part in figures.components:
        others = tuple(name for name in part.compartments if name != figures.compartment)
        found.setdefault(others, []).append(f"{part.name} {part.version}".rstrip())
    return found


def tenants_of(figures: Figures) -> list[str]:
    """The tenants, in order."""
    return list(dict.fromkeys(cell.tenant for cell in figures.cells))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
