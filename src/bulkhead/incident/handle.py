"""One function per message to incident."""

from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler, Learner
from bulkhead.boundary.messages import to_incident as m
from bulkhead.boundary.messages.facts import LoginsRefused
from bulkhead.boundary.messages.fields import Done, Fact, Request
from bulkhead.errors import BoundaryViolation
from bulkhead.holder import backup
from bulkhead.incident.seeds import Seeds

_Body = BodyReader | None


async def confirm_login(seeds: Seeds, _: Channel, request: m.ConfirmLogin, __: _Body) -> m.LoginConfirmed:
    """Whether the account is a canary; that it was used is durable before the answer."""
    copy = seeds.find(request.account)
    if copy is None:
        return m.LoginConfirmed(False)
    seeds.hit(copy, request.network, right=True)
    await seeds.flush()
    return m.LoginConfirmed(True)


def logins_refused(seeds: Seeds, _: Channel, fact: Fact) -> None:
    """Look each of them up."""
    if not isinstance(fact, LoginsRefused):
        raise BoundaryViolation("no such fact")
    for login in fact.logins:
        copy = seeds.find(login.account)
        if copy is not None:
            seeds.hit(copy, login.network, right=False)


async def plant_canaries(seeds: Seeds, _: Channel, request: m.PlantCanaries, __: _Body) -> Done:
    """Take them into the list."""
    return await seeds.plant(request)


async def list_canaries(seeds: Seeds, _: Channel, __: m.ListCanaries, ___: _Body) -> m.CanaryCopies:
    """Copies and hits."""
    await seeds.flush()
    return m.CanaryCopies(seeds.copies())


def check_incident(seeds: Seeds, _: Channel, __: m.CheckIncident, ___: _Body) -> m.IncidentReport:
    """Whether every copy has as many ids as canaries, two each, or fewer where two share one."""
    rows = seeds.database.read(
        "SELECT name, canaries, (SELECT count(*) FROM seed WHERE seed.copy = copy.number) FROM copy"
    )
    problems = tuple(
        f"copy {name[:64]}: {ids} ids for {canaries} canaries" for name, canaries, ids in rows
        if not 0 < ids <= 2 * canaries
    )  # fmt: skip
    return m.IncidentReport(sum(ids for *_, ids in rows), problems[:100])


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    m.ConfirmLogin: confirm_login,
    m.PlantCanaries: plant_canaries,
    m.ListCanaries: list_canaries,
    m.CheckIncident: check_incident,
    **backup.handlers(m.BeginBackup, m.ReadBackup, m.EscrowKeys),
}
LEARNERS: Mapping[type[Fact], Learner] = {LoginsRefused: logins_refused}
