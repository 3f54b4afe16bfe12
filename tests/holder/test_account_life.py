"""The life of an account through directory, auth and keyring for real: all three say what the table says, also where
an act is cut off after any of its steps and given again.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring
from bulkhead.cli import account_steps, routes
from bulkhead.directory.transitions import LOGS_IN, TRANSITIONS, Status
from bulkhead.drill.bare_cell import BareCell, Person, opened
from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.supervisor.layout import Layout

LOGIN = to_directory.Service.LOGIN
STEPS_MAX = 8  # of one act, and more


class Cut(Exception):
    """The command ends here."""


@dataclass
class Road:
    """The command line's road, until it is cut: `left` more requests that change something."""

    cell: BareCell
    layout: Layout
    left: int = STEPS_MAX

    async def ask(self, whom: str, request: Any, *, timeout: float = 10.0) -> Any:
        if not self.left and hasattr(request, "stamp"):
            raise Cut
        reply = await self.cell.exchanges["cli"].to(whom).call(request, timeout=timeout)
        self.left -= hasattr(request, "stamp")
        return reply


async def _cancel(road: Any, person: Person) -> None:
    row = await account_steps.require_account(road, parse_address(person.address))
    async for _ in account_steps.destroy_steps(road, AccountId(row.account), person.address):
        pass
    await account_steps.release_address(road, parse_address(person.address), "asked")


async def _close(road: Any, person: Person, status: int) -> None:
    await account_steps.close_account(road, parse_address(person.address), status, "asked")


async def _activate(road: Any, person: Person) -> None:
    await account_steps.activate_account(road, parse_address(person.address), "asked")


async def _purge(road: Any, person: Person) -> None:
    await account_steps.forget_address(road, parse_address(person.address), "asked")


async def _switch(road: Any, person: Person, off: int, on: int) -> None:
    await routes.set_services(road, person.address, off, on, "asked")


Act = Callable[[Any, Person], Awaitable[None]]
ACTS: dict[str, Act] = {
    "suspend": partial(_close, status=Status.SUSPENDED),
    "dormant": partial(_close, status=Status.DORMANT),
    "activate": _activate,
    "cancel": _cancel,
    "purge": _purge,
    "off": partial(_switch, off=LOGIN, on=0),
    "on": partial(_switch, off=0, on=LOGIN),
}
TARGETS = {
    "suspend": Status.SUSPENDED, "dormant": Status.DORMANT, "activate": Status.ACTIVE, "cancel": Status.CANCELLED,
    "purge": Status.PURGED,
}  # fmt: skip


@dataclass(frozen=True)
class Life:
    """What the table of docs/lifecycle.md says."""

    status: Status = Status.ACTIVE
    off: bool = False

    def after(self, act: str) -> "Life | None":
        """None: refused."""
        if self.status is Status.PURGED:
            return None
        if act in ("off", "on"):
            return dataclasses.replace(self, off=act == "off") if self.status < Status.CANCELLED else None
        target = TARGETS[act]
        if target is not self.status and target not in TRANSITIONS[self.status]:
            return None
        return dataclasses.replace(self, status=target)

    @property
    def admits(self) -> bool:
        return self.status in LOGS_IN and not self.off

    @property
    def half(self) -> int:
        if self.status >= Status.CANCELLED:
            return AccountState.DESTROYED
        if self.status not in LOGS_IN:
            return AccountState.BOTH if self.off else AccountState.SUSPENDED
        return AccountState.SWITCHED_OFF if self.off else AccountState.OPEN


@dataclass
class Held:
    """What the three holders say."""

    status: Status
    off: bool
    auth: int
    keyring: int

    @property
    def admits(self) -> bool:
        return self.status in LOGS_IN and not self.off and self.auth == self.keyring == AccountState.OPEN


async def _held(cell: BareCell, person: Person) -> Held:
    halves = [
        (await cell.ask("cli", "auth", to_auth.MatchAuth(person.account))).halves[0],
        (await cell.ask("cli", "keyring", to_keyring.MatchKeyring(person.account))).halves[0],
    ]
    try:
        row = await cell.ask("cli", "directory", to_directory.ShowAccount(person.address))
    except Refused:
        return Held(Status.PURGED, False, *halves)
    return Held(Status(row.status), bool(row.closed & LOGIN), *halves)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable[[Any], Any], Callable[[], Any]]]:
    """Runs a coroutine where one cell runs for all; and a fresh road through it."""
    root: Path = tmp_path_factory.mktemp("life")
    loop = asyncio.new_event_loop()
    context = opened(root / "cell")
    cell = loop.run_until_complete(context.__aenter__())
    layout = Layout(root / "installation", cell.tenant)
    yield loop.run_until_complete, partial(Road, cell, layout)
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, STEPS_MAX)), min_size=1, max_size=7))
def test_every_act_leaves_all_holders_as_the_table_says_wherever_it_is_cut_off(
    run: Any, acts: list[tuple[str, int]]
) -> None:
    wait, new_road = run

    async def live() -> None:
        cell = new_road().cell
        person, life = await cell.add_person(), Life()
        for act, steps in acts:
            after = life.after(act)
            try:
                await ACTS[act](new_road(left=steps), person)
            except Cut:
                held = await _held(cell, person)
                assert not held.admits or life.admits or (after is not None and after.admits), (act, steps, held)
            except Refused:
                assert after is None, (act, steps, life)
            if act == "purge" and (await _held(cell, person)).status is Status.PURGED:
                life = after or life
                continue  # nobody knows the address any more
            refused = False
            try:
                await ACTS[act](new_road(), person)
            except Refused:
                refused = True
            assert refused is (after is None), (act, steps, life)
            life = after or life
            held = await _held(cell, person)
            off = life.off if life.status < Status.CANCELLED else held.off
            assert held == Held(life.status, off, life.half, life.half), (act, steps, life)

    wait(live())
