"""Provisioning files in a whole cell of one process: first passwords, and logins of accounts by their ids."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.cli.provision_passwords import new_password
from bulkhead.cli.provision_steps import Steps
from bulkhead.directory import provision as directory_provision
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp
from bulkhead.drill.semantic_orders import begin, by, install
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder import provision as holder_provision
from bulkhead.identifiers import AccountId
from bulkhead.records.legacy import Recipe, Scheme
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.mailbox import Binding
from bulkhead.records.provision import account_of_line, chunk_hash, chunks_of, password_name, root_of
from bulkhead.records.roster import Policy

Row = dict[str, Any]
STRICT = Policy(local_refused=True)


def _password(number: int = 0) -> tuple[bytes, FirstPassword]:
    typed = new_password().encode()
    recipe = Recipe(Scheme.SHA512, bytes([number]) * 16)
    return typed, FirstPassword(bytes([number]) * 16, "sha512", recipe.legacy().salt, legacy_digest(recipe, typed))


def _name(one: FirstPassword) -> str:
    return password_name(one.nonce, one.scheme, one.salt, one.digest).hex()


@dataclass
class File:
    """A file of one chunk, and what the command line does with it."""

    cell: BareCell
    rows: list[Row]
    passwords: tuple[FirstPassword, ...] = ()
    name: str = "test/1"
    bindings: tuple[to_directory.BindingRow, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        header = {"do": "provision", "tenant": str(self.cell.tenant), "name": self.name}
        (self.chunk,) = chunks_of([json.dumps(row).encode() + b"\n" for row in (header, *self.rows)])
        self.lines = len(self.chunk.lines)
        self.root = root_of(self.lines, chunk_hash(self.chunk.data))

    def account(self, line: int) -> AccountId:
        return account_of_line(self.root, line)

    async def sign(self, *officers: str) -> None:
        order = self.cell.people.order("provision", {"root": self.root.hex(), "lines": self.lines})
        for executor in ("keyring", "auth", "directory"):
            assert not isinstance(await by(self.cell, executor, order, *officers), str)

    async def ask(self, whom: str, request: Any) -> Any:
        return await answer(self.cell.exchanges["cli"], whom, request)

    async def begin(self, *whom: str) -> None:
        modules = {"keyring": to_keyring, "auth": to_auth, "directory": to_directory}
        for name in whom or modules:
            kind = getattr(modules[name], "BeginProvision")  # noqa: B009  a module of three
            said = await self.ask(name, kind(stamp(), self.root, self.lines, chunk_hash(self.chunk.data)))
            assert not isinstance(said, str), said

    async def keyring(self, held: tuple[int, ...] = ()) -> Any:
        return await self.ask("keyring", to_keyring.ProvisionChunk(stamp(), self.root, 0, self.chunk.data, held))

    async def auth(self, held: tuple[int, ...] = (), passwords: tuple[FirstPassword, ...] | None = None) -> Any:
        given = self.passwords if passwords is None else passwords
        return await self.ask("auth", to_auth.ProvisionChunk(stamp(), self.root, 0, self.chunk.data, held, given))

    async def directory(self) -> Any:
        """Bindings first, as keyring gives them."""
        found = []
        for number, octets in enumerate(self.chunk.lines, 1):
            if b"add-account" in octets:
                made = await self.ask("keyring", to_keyring.CreateMailboxKeys(stamp(), self.account(number), False))
                found += [] if isinstance(made, str) else [made.binding]
        self.bindings = tuple(found)
        chunk = to_directory.ProvisionChunk(stamp(), self.root, 0, self.chunk.data, self.bindings)
        return await self.ask("directory", chunk)

    async def refused(self) -> dict[int, str]:
        rows = (await self.ask("directory", to_directory.ListRefusedLines(self.root, 0))).rows
        return {row.line: row.code for row in rows}

    async def run(self) -> dict[int, str]:
        await self.begin()
        for said in (await self.keyring(), await self.auth(), await self.directory()):
            assert not isinstance(said, str), said
        return await self.refused()


Work = Callable[[BareCell], Awaitable[None]]


@pytest.fixture
def in_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Work], None]]:
    monkeypatch.chdir(tmp_path)

    def run(work: Work) -> None:
        async def whole() -> None:
            cell = BareCell(tmp_path / "cell")
            await cell.open()
            try:
                await work(cell)
            finally:
                await cell.close()

        asyncio.run(whole())

    yield run


async def _strict(cell: BareCell, policy: Policy = STRICT) -> None:
    people = await begin(cell)
    roster = people.roster(policy)
    await install(cell, roster)
    people.use(roster)


def _add(cell: BareCell, name: str, password: FirstPassword | None = None) -> Row:
    row: Row = {"do": "add-account", "address": f"{name}@{cell.domain}"}
    return row if password is None else row | {"password": _name(password)}


def test_first_passwords_of_a_signed_file_open_their_accounts_and_nobody_else_sets_one(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        await _strict(cell)
        (typed, one), (_, stranger) = _password(1), _password(2)
        file = File(cell, [_add(cell, "new", one), _add(cell, "bare")], (one,))
        for unsigned in (file.keyring(), file.auth()):
            assert await unsigned == "order-required"
        await file.sign("ada")
        await file.begin()
        changed = File(cell, [_add(cell, "new", stranger), _add(cell, "bare")], (stranger,))
        for whom, module in (("keyring", to_keyring), ("auth", to_auth)):
            chunk = getattr(module, "ProvisionChunk")(stamp(), file.root, 0, changed.chunk.data)  # noqa: B009  of two
            assert await file.ask(whom, chunk) == "other-chunk"
        assert not isinstance(await file.keyring(), str)
        create = to_keyring.CreateMailboxKeys(stamp(), file.account(2), False)
        assert await file.ask("keyring", create) == "exists"  # promised: no key leaves before the password is set
        assert not isinstance(await file.auth(), str)
        assert not isinstance(await file.directory(), str)
        assert await file.refused() == {}
        address = f"new@{cell.domain}"
        assert await cell.admits("access", address, typed)
        assert not await cell.admits("access", f"bare@{cell.domain}", typed)
        account, _ = await cell.log_in("submit", address, typed, to_auth.Scope.SUBMIT)
        assert account == file.account(2)
        change = to_auth.ChangePassword(stamp(), account, typed, b"of the subscriber's own")
        assert not isinstance(await file.ask("auth", change), str)
        assert not isinstance(await file.keyring(), str)  # again: nothing
        assert not isinstance(await file.auth(), str)
        assert not await cell.admits("access", address, typed)
        assert await cell.admits("access", address, b"of the subscriber's own")

    in_cell(work)


def test_a_password_that_the_file_does_not_name_is_not_set(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        (_, one), (typed, stranger) = _password(1), _password(2)
        file = File(cell, [_add(cell, "new", one)], (stranger,))
        assert await file.run() == {2: "no-binding"}
        assert not await cell.admits("access", f"new@{cell.domain}", typed)

    in_cell(work)


def test_who_has_an_account_gets_no_first_password(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        typed, one = _password(1)
        file = File(cell, [_add(cell, "there", one)], (one,))
        await file.begin()
        await cell.ask("cli", "keyring", to_keyring.CreateMailboxKeys(stamp(), file.account(2), False))
        for said in (await file.keyring(), await file.auth(), await file.directory()):
            assert not isinstance(said, str)
        assert not await cell.admits("access", f"there@{cell.domain}", typed)

    in_cell(work)


@pytest.mark.parametrize("cut", ["keyring", "auth", "before the commit"])
def test_a_first_password_is_set_once_wherever_its_setting_is_cut_off(
    in_cell: Any, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cell: BareCell) -> None:
        typed, one = _password(1)
        file = File(cell, [_add(cell, "new", one)], (one,))
        await file.begin()
        assert not isinstance(await file.keyring(), str)
        if cut == "before the commit":
            with monkeypatch.context() as broken:

                def fail(*_: object) -> None:
                    raise TemporaryFailure("the disk is full", code="storage")

                broken.setattr("bulkhead.auth.passwords.Passwords._add", _added_and(fail))
                assert await file.auth() == "storage"
            created = to_keyring.CreateMailboxKeys(stamp(), file.account(2), False)
            assert await file.ask("keyring", created) in {"busy", "exists"}
        else:
            await cell.restart(cut)
        for _ in range(200):
            said = await file.auth()
            if said != "busy":  # while what was cut off is taken back
                break
            await asyncio.sleep(0.02)
        assert not isinstance(said, str)
        assert not isinstance(await file.directory(), str)
        assert await file.refused() == {}
        account, session = await cell.log_in("access", f"new@{cell.domain}", typed)
        bound = Binding(file.bindings[0].record).verify(
            cell.keyring.keys.binding.public_key(), cell.tenant, file.account(2)
        )
        live = cell.keyring.sessions.all()[0]
        assert bound.public_key.public_bytes_raw() == live.seed.message_public_key()
        assert (account, session.binding) == (file.account(2), file.bindings[0])
        assert cell.keyring.database.read("SELECT 1 FROM promised") == []

    in_cell(work)


def _added_and(then: Callable[..., None]) -> Any:
    from bulkhead.auth.passwords import Passwords

    real = Passwords._add

    async def add(self: Any, *given: Any) -> Any:
        await real(self, *given)
        then()

    return add


def test_suspensions_and_switches_of_a_signed_file_reach_all_three_by_the_accounts_id(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        one, two, three = [await cell.add_person() for _ in range(3)]
        await _strict(cell)

        def of(person: Person, do: str, **more: Any) -> Row:
            return {"do": do, "address": person.address, "account": person.account.hex(), **more}

        closing = File(cell, [
            of(one, "suspend"), of(two, "services", off=["login"]), {"do": "suspend", "address": three.address},
            {**of(three, "suspend"), "account": one.account.hex()}, _add(cell, "new"),
            {"do": "services", "address": f"new@{cell.domain}", "line": 6, "off": ["login"]},
        ])  # fmt: skip
        await closing.sign("ada")
        await cell.ask("cli", "keyring", to_keyring.CreateMailboxKeys(stamp(), closing.account(6), False))
        steps = _steps(cell, closing.root)
        assert await steps._held(closing.chunk) == (4, 5)
        assert await closing.run() == {4: "order-required", 5: "other-account"}
        assert [await cell.admits("access", person) for person in (one, two, three)] == [False, False, True]
        assert [await _states(cell, account) for account in (one.account, two.account, closing.account(6))] == [
            (2, 2), (4, 4), (4, 4)
        ]  # fmt: skip
        opening = File(cell, [of(one, "activate"), of(two, "services", off=[])], name="test/2")
        await opening.sign("ada")
        assert await opening.run() == {}
        assert [await cell.admits("access", person) for person in (one, two)] == [True, True]
        again = File(cell, closing.rows)
        assert again.root == closing.root
        await again.keyring()  # done: what came after is not undone
        await again.auth()
        assert await cell.admits("access", one)

    in_cell(work)


def test_a_file_ends_and_opens_logins_with_the_signatures_of_such_orders_alone(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        one = await cell.add_person()
        await _strict(cell, Policy(local_refused=True, quorum={"activate-account": {"partner": 2}}))
        rows = [
            {"do": do, "address": one.address, "account": one.account.hex()} for do in ("suspend", "activate")
        ]  # fmt: skip
        file = File(cell, rows)
        await file.sign("ada")
        assert await file.run() == {3: "order-required"}
        assert await _states(cell, one.account) == (2, 2)
        file = File(cell, rows[1:], name="test/2")
        await file.sign("ada", "sec")
        assert await file.run() == {}
        assert await cell.admits("access", one)

    in_cell(work)


async def _states(cell: BareCell, account: AccountId) -> tuple[int, int]:
    halves = [
        (await cell.ask("cli", "auth", to_auth.MatchAuth(account))).halves,
        (await cell.ask("cli", "keyring", to_keyring.MatchKeyring(account))).halves,
    ]
    return halves[0][0], halves[1][0]


class Road:
    """As much of the command line's road as steps of a file need."""

    def __init__(self, cell: BareCell) -> None:
        self.cell = cell

    async def ask(self, whom: str, request: Any, *, timeout: float = 10.0) -> Any:
        return await self.cell.exchanges["cli"].to(whom).call(request, timeout=timeout)


def _steps(cell: BareCell, root: bytes) -> Steps:
    road: Any = Road(cell)
    return Steps(road, root, True, 0, {})


def test_what_a_line_needs_is_refused_to_the_command_line_by_itself(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        await _strict(cell)
        for state in range(1, 6):
            for whom, request in (
                ("keyring", to_keyring.SetHalfState(stamp(), person.account, state)),
                ("auth", to_auth.SetLoginState(stamp(), person.account, state)),
            ):
                with pytest.raises(Refused) as refusal:
                    await cell.ask("cli", whom, request)
                assert refusal.value.code == "order-required"

    in_cell(work)


def test_a_file_does_not_go_round_a_cap_of_a_day(in_cell: Any) -> None:
    async def work(cell: BareCell) -> None:
        one = await cell.add_person()
        await _strict(cell, Policy(local_refused=True, daily={"suspend-account": 10}))
        file = File(cell, [{"do": "suspend", "address": one.address, "account": one.account.hex()}])
        await file.sign("ada")
        assert await file.run() == {2: "order-required"}
        assert await _states(cell, one.account) == (1, 1)

    in_cell(work)


def test_files_that_are_through_leave_room_for_those_of_every_hour(in_cell: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(holder_provision, "FILES_MAX", 1)
    monkeypatch.setattr(directory_provision, "FILES_MAX", 1)

    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        suspend = {"do": "suspend", "address": person.address, "account": person.account.hex()}
        first, second = (File(cell, [suspend], name=f"test/{number}") for number in (1, 2))
        assert await first.run() == {}
        state = await first.keyring()
        assert (state.chunk, state.chunks) == (1, 1)
        beyond = to_keyring.ProvisionChunk(stamp(), first.root, 1, first.chunk.data, ())
        assert await first.ask("keyring", beyond) == "not-next"
        assert (await first.directory()).chunks == 1
        await second.begin()
        third = File(cell, [suspend], name="test/3")
        for name, module in (("keyring", to_keyring), ("auth", to_auth), ("directory", to_directory)):
            kind = getattr(module, "BeginProvision")  # noqa: B009  a module of three
            begun = kind(stamp(), third.root, third.lines, chunk_hash(third.chunk.data))
            assert await third.ask(name, begun) == "full"

    in_cell(work)
