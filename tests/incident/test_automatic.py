"""A canary's right password stops what the settings name, by a key that the roster has; and nothing else."""

import asyncio
import os
from pathlib import Path

import pytest

from bulkhead.boundary.messages.to_incident import (
    AutomaticOfficer,
    Canary,
    ConfirmLogin,
    LearnRoster,
    PlantCanaries,
    ReadAutomatic,
)
from bulkhead.drill.bare_cell import BareCell, stamp
from bulkhead.drill.semantic_orders import install
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.officer import KeyType, OfficerKey, Role
from bulkhead.records.roster import Officer

NETWORK = b"\xc0\x00\x02"


async def struck(root: Path, action: str, *, enrolled: bool) -> tuple[bool, bool, int]:
    """Whether outbound mail is stopped at keyring and queue after a hit, and how many logins are."""
    cell = BareCell(root, settings={"incident": {"automatic": action}})
    await cell.open()
    try:
        people, person = cell.people, await cell.add_person()
        public = (await cell.ask("cli", "incident", ReadAutomatic())).public
        key = OfficerKey(KeyType.ED25519, public)
        machine = (Officer("machine", Role.AUTOMATIC, 0, 0, (key,)),) if enrolled else ()
        roster = people.roster(officers=(*people.officers(), *machine))
        assert not any(isinstance(said, str) for said in await install(cell, roster))
        people.use(roster)
        named = tuple(AutomaticOfficer(officer.name, key.id) for officer in machine)
        learnt = await cell.ask("cli", "incident", LearnRoster(stamp(), people.version, people.hash, named))
        assert learnt.officer == ("machine" if enrolled else "")
        await cell.ask(
            "cli", "incident", PlantCanaries(stamp(), "live", (Canary(person.account, AccountId(new_id())),))
        )
        for _ in range(3):  # one order: while it holds there is no second
            await cell.ask("auth", "incident", ConfirmLogin(person.account, NETWORK))
        automatic = cell.services["incident"].incident.automatic
        await asyncio.gather(*automatic._tasks)
        queue = cell.services["queue"].queue
        return cell.keyring.outbound.stopped, queue.outbound.stopped, int(cell.keyring.stop.stopped)
    finally:
        await cell.close()


@pytest.mark.parametrize(
    ("action", "enrolled", "held"),
    [
        ("stop-outbound", True, (True, True, 0)),
        ("stop-logins", True, (False, False, 1)),
        ("off", True, (False, False, 0)),
        ("stop-outbound", False, (False, False, 0)),
    ],
)
def test_a_hit_stops_what_the_settings_name_where_the_roster_has_the_key(
    tmp_path: Path, action: str, enrolled: bool, held: tuple[bool, bool, int]
) -> None:
    here = Path.cwd()
    try:
        assert asyncio.run(struck(tmp_path, action, enrolled=enrolled)) == held
    finally:
        os.chdir(here)
