"""One function per message to incident."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler, Learner
from bulkhead.boundary.messages import to_incident as m
from bulkhead.boundary.messages.facts import LoginsRefused
from bulkhead.boundary.messages.fields import Done, Fact, Request
from bulkhead.errors import BoundaryViolation
from bulkhead.holder import backup, standby
from bulkhead.holder.backup import Backups
from bulkhead.incident.advisories import Advisories
from bulkhead.incident.automatic import Automatic
from bulkhead.incident.contract import Contract
from bulkhead.incident.seeds import Seeds

_Body = BodyReader | None


@dataclass(slots=True)
class Incident:
    """What a started incident has."""

    seeds: Seeds
    contract: Contract
    advisories: Advisories
    automatic: Automatic
    backups: Backups


async def confirm_login(incident: Incident, _: Channel, request: m.ConfirmLogin, __: _Body) -> m.LoginConfirmed:
    """Whether the account is a canary; that it was used is durable before the answer."""
    copy = incident.seeds.find(request.account)
    if copy is None:
        return m.LoginConfirmed(False)
    incident.seeds.hit(copy, request.network, right=True)
    await incident.seeds.flush()
    incident.automatic.strike("a canary was used with its right password")
    return m.LoginConfirmed(True)


def logins_refused(incident: Incident, _: Channel, fact: Fact) -> None:
    """Look each of them up."""
    if not isinstance(fact, LoginsRefused):
        raise BoundaryViolation("no such fact")
    for login in fact.logins:
        copy = incident.seeds.find(login.account)
        if copy is not None:
            incident.seeds.hit(copy, login.network, right=False)


async def plant_canaries(incident: Incident, _: Channel, request: m.PlantCanaries, __: _Body) -> Done:
    """Take them into the list."""
    return await incident.seeds.plant(request)


async def list_canaries(incident: Incident, _: Channel, __: m.ListCanaries, ___: _Body) -> m.CanaryCopies:
    """Copies and hits."""
    await incident.seeds.flush()
    return m.CanaryCopies(incident.seeds.copies())


def check_incident(incident: Incident, _: Channel, __: m.CheckIncident, ___: _Body) -> m.IncidentReport:
    """Whether every copy has as many ids as canaries, two each, or fewer where two share one."""
    rows = incident.seeds.database.read(
        "SELECT name, canaries, (SELECT count(*) FROM seed WHERE seed.copy = copy.number) FROM copy"
    )
    problems = tuple(
        f"copy {name[:64]}: {ids} ids for {canaries} canaries" for name, canaries, ids in rows
        if not 0 < ids <= 2 * canaries
    )  # fmt: skip
    return m.IncidentReport(sum(ids for *_, ids in rows), problems[:100])


async def adopt_contract(incident: Incident, _: Channel, request: m.AdoptContract, __: _Body) -> Done:
    """Take it into force."""
    return await incident.contract.adopt(request)


def read_contract(incident: Incident, _: Channel, __: m.ReadContract, ___: _Body) -> m.ContractState:
    """The contract and how it stands."""
    return incident.contract.state()


async def record_measures(incident: Incident, _: Channel, request: m.RecordMeasures, __: _Body) -> Done:
    """Keep what was measured."""
    return await incident.contract.record(request)


async def give_notice(incident: Incident, _: Channel, request: m.GiveNotice, __: _Body) -> Done:
    """Have the ledger know that the partner was told."""
    return await incident.contract.give_notice(request)


async def record_components(incident: Incident, _: Channel, request: m.RecordComponents, __: _Body) -> Done:
    """Keep what was compared."""
    return await incident.advisories.record(request)


def read_components(incident: Incident, _: Channel, __: m.ReadComponents, ___: _Body) -> m.ComponentState:
    """Known flaws, and when they were last looked for."""
    return incident.advisories.state()


async def learn_roster(incident: Incident, _: Channel, request: m.LearnRoster, __: _Body) -> m.AutomaticKey:
    """Which roster automatic orders are made under."""
    return await incident.automatic.learn(request)


def read_automatic(incident: Incident, _: Channel, __: m.ReadAutomatic, ___: _Body) -> m.AutomaticKey:
    """The public key that officers put into a roster."""
    return incident.automatic.public()


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    m.ConfirmLogin: confirm_login,
    m.PlantCanaries: plant_canaries,
    m.ListCanaries: list_canaries,
    m.CheckIncident: check_incident,
    m.AdoptContract: adopt_contract,
    m.ReadContract: read_contract,
    m.RecordMeasures: record_measures,
    m.GiveNotice: give_notice,
    m.RecordComponents: record_components,
    m.ReadComponents: read_components,
    m.LearnRoster: learn_roster,
    m.ReadAutomatic: read_automatic,
    **backup.handlers(m.BeginBackup, m.ReadBackup, m.EscrowKeys),
    **standby.handlers(m.BeginStandby, m.ReadStandby, m.RenewLease),
}
LEARNERS: Mapping[type[Fact], Learner] = {LoginsRefused: logins_refused}
