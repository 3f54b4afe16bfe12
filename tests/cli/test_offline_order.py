"""A restore and a promotion by order: verified by the newest roster that the log knows, and by no older one."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
from tests.cli.test_officer import write_order, write_roster

from bulkhead.cli.offline_order import require_order
from bulkhead.config import Tenant
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.drill.officers import People
from bulkhead.errors import ConfigError, Error, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.order_rows import put_roster
from bulkhead.ledger.event import EVENTS, Event
from bulkhead.records.roster import Policy
from bulkhead.supervisor.layout import Layout

STRICT = Policy(local_refused=True)
ACTION = "restore-cell"


class Site:
    """A tenant whose directory was restored, with a roster in it, and a log."""

    def __init__(self, base: Path, policy: Policy = STRICT, *, pinned: bool = True) -> None:
        self.base, self.people = base, People("kddi")
        self.layout = Layout(base, self.people.tenant)
        home = self.layout.home("directory")
        home.mkdir(parents=True)
        self.values: dict[str, Any] = {
            "pinned.roster_roots": tuple(self.people.pinned()["roster_roots"]) if pinned else (),
            "pinned.roster_threshold": 1,
        }
        self.events: list[Event] = []
        self.first = write_roster(self.people, self.people.roster(policy), base / "1.roster")
        self.note_roster()
        asyncio.run(self._put())

    async def _put(self) -> None:
        database = Database(self.layout.home("directory") / DATABASE, MIGRATIONS)
        people = self.people
        values = (people.version, people.hash, people.octets, people.roots.hash)
        await database.write(lambda connection: put_roster(connection, values=values))
        await database.close()

    def note(self, kind: str, **details: str | int) -> None:
        self.events.append(Event(EVENTS[kind], int(time.time() * 1000), "cli", (), details))

    def note_roster(self) -> None:
        self.note("RosterInstalled", version=self.people.version, sha256=self.people.hash.hex(), officers=7)

    def order(self, *by: str, action: str = ACTION, **changes: Any) -> str:
        return str(write_order(self.people, self.people.order(action, **changes), self.base / "order", *by))

    def ask(self, order: str = "", roster: str = "", events: Iterable[Event] | None = None) -> dict[str, Any]:
        settings = SimpleNamespace(texts=self.values.__getitem__, integer=self.values.__getitem__)
        tenant = cast(Tenant, SimpleNamespace(id=self.people.tenant, settings=settings))
        found = self.events if events is None else events
        work = require_order(self.layout, tenant, ACTION, found, order=order, roster=roster)
        return dict(MappingProxyType(asyncio.run(work)))

    def code(self, *given: str) -> str:
        with pytest.raises(Error) as raised:
            self.ask(*given)
        return raised.value.code


def test_what_the_roster_refuses_needs_an_order_and_two_officers_of_the_partner_give_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.code() == "needs-order"
    assert site.code(site.order("ada")) == "quorum"
    assert site.code(site.order("ops", "ovi")) == "quorum"
    told = site.ask(site.order("ada", "sec"))
    assert told["officers"] == "ada sec" and len(str(told["order"])) == 32


def test_an_order_for_another_act_tenant_or_time_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.code(site.order("ada", "sec", action="promote-standby")) == "unknown-action"
    assert site.code(site.order("ada", "sec", action="lift-logins")) == "other-executor"
    assert site.code(site.order("ada", "sec", tenant=People("stnet").tenant)) == "other-tenant"
    assert site.code(site.order("ada", "sec", expires=int(time.time() * 1000) - 1)) == "expired"
    (tmp_path / "junk").write_text("{}")
    with pytest.raises(Error):
        site.ask(str(tmp_path / "junk"))
    with pytest.raises(ConfigError):
        site.ask(str(tmp_path / "missing"))


def test_a_roster_that_a_newer_one_followed_decides_nothing_and_the_newer_is_a_file(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    old = site.order("ada", "sec")
    second = write_roster(site.people, site.people.roster(STRICT), tmp_path / "2.roster")
    site.note_roster()
    assert site.code(old) == "old-roster" == site.code()
    assert site.code(old, str(second)) == "old-roster"
    assert site.code(site.order("ada", "sec"), str(site.first)) == "old-roster"
    assert site.ask(site.order("ada", "sec"), str(second))["officers"] == "ada sec"
    forged = tmp_path / "3.roster"
    forged.write_text(second.read_text().replace('"signature": "', '"signature": "AAAA', 1))
    with pytest.raises(Error):
        site.ask(site.order("ada", "sec"), str(forged))


def test_an_order_is_good_for_one_restore_that_was_done_and_for_one_that_was_cut(tmp_path: Path) -> None:
    site = Site(tmp_path)
    order = site.order("ada", "sec")
    serial = str(site.ask(order)["order"])
    site.note("RestoreBegun", order=serial)
    assert site.ask(order)["order"] == serial  # cut: the same command begins anew
    site.note("RestoreDone", messages=1)
    assert site.code(order) == "serial-used"


def test_nothing_is_asked_where_the_roster_allows_it_or_there_is_none(tmp_path: Path) -> None:
    lenient = Site(tmp_path / "a", Policy())
    assert lenient.ask() == {}
    assert lenient.ask(lenient.order("ada", "sec"))["officers"] == "ada sec"
    bare = Site(tmp_path / "b", pinned=False)
    assert bare.ask() == {}
    with pytest.raises(ConfigError):
        bare.ask(bare.order("ada", "sec"))
    with pytest.raises(Refused):
        Site(tmp_path / "c").ask(events=())
