"""Hostile acts that break no rule of the boundary: one compartment lies, its neighbours are honest, nothing is gained.

Each act has its control beside it: the same request by whom it is meant for succeeds.
"""

import asyncio
import base64
import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.access import cell as access_cell
from tests.access.cell import Cell, message
from tests.gate import cell as gate_cell
from tests.gate.cell import Client
from tests.keyring.two_halves import TwoHalves, refused
from tests.keyring.two_halves import run as run_halves

from bulkhead.boundary.messages import to_keyring, to_store
from bulkhead.boundary.messages.fields import Request, Stamp
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.mailbox import sign_binding
from bulkhead.records.seed import MailboxSeed, new_secret

EVERYTHING = ((1, 0xFFFFFFFF),)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    before = Path.cwd()
    running = Cell(tmp_path_factory.mktemp("cell"))
    try:
        yield running
        assert running.ask(to_store.CheckStore(deep=True), "store").problems == ()
    finally:
        running.close()
        os.chdir(before)


class Worker:
    """A process of some compartment that says what it likes to the cell's real holders."""

    def __init__(self, cell: Cell, compartment: str, *holders: str) -> None:
        self.cell, self.name = cell, f"hostile {compartment} {secrets.token_hex(4)}"
        self.exchange = cell.exchanges[self.name] = cell._exchange(compartment)
        cell.holders.run(self._serve())
        for holder in holders:
            cell.connect(self.name, holder)

    async def _serve(self) -> None:
        self.exchange.serve(None, {}, {})

    def ask(self, holder: str, request: Request[Any], body: bytes | None = None) -> Any:
        return self.cell.holders.run(self.exchange.to(holder).call(request, body, timeout=10.0))

    def read(self, request: Request[Any]) -> tuple[Any, bytes]:
        async def whole() -> tuple[Any, bytes]:
            reply, reader = await self.exchange.to("store").open(request)
            return reply, await reader.read_all()

        return self.cell.holders.run(whole())

    def log_in(self, account: access_cell.Account) -> bytes:
        """A session of this worker; its handle."""
        nonce = secrets.token_bytes(16)
        self.ask("auth", Authenticate(account.id, access_cell.PASSWORD.encode(), Scope.IMAP, "127.0.0.9", nonce))
        session: to_keyring.Session = self.ask("keyring", to_keyring.RedeemLogin(nonce, account.id, Scope.IMAP))
        return session.handle

    def inbox(self, handle: bytes) -> bytes:
        found: bytes = self.ask("store", to_store.ListMailboxes(handle)).rows[0].mailbox
        return found


def access_worker(cell: Cell) -> Worker:
    return Worker(cell, "access", "auth", "keyring", "store")


def stamp() -> Stamp:
    return Stamp.fresh("hostile")


@contextlib.contextmanager
def refused_with(*codes: str) -> Iterator[None]:
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.code in codes


def subjects(cell: Cell, account: access_cell.Account) -> int:
    """How many messages the subscriber finds."""
    with cell.imap(account) as client:
        return int(client.select("INBOX")[1][0] or 0)


# --- a handle used from another worker ---------------------------------------------------------------------------


def test_a_handle_of_another_worker_or_of_an_ended_session_opens_nothing(cell: Cell) -> None:
    victim = cell.add_account()
    cell.deliver(victim, message("secret"))
    honest, thief = access_worker(cell), access_worker(cell)
    handle = honest.log_in(victim)
    inbox = honest.inbox(handle)
    row = honest.ask("store", to_store.ReadRows(handle, inbox, EVERYTHING)).rows[0]
    arrived = to_keyring.OpenArrived(handle, (to_keyring.ArrivedKey(row.email, row.sealed_key),))
    acts: list[tuple[str, Request[Any]]] = [
        ("store", to_store.ListMailboxes(handle)),
        ("store", to_store.ReadRows(handle, inbox, EVERYTHING)),
        ("store", to_store.ReadQuota(handle)),
        ("store", to_store.CreateMailbox(stamp(), handle, secrets.token_bytes(16), b"sealed", secrets.token_bytes(16))),
        ("keyring", arrived),
        ("keyring", to_keyring.OpenPages(handle, (1,))),
    ]
    for holder, act in acts:
        with refused_with("no-session"):
            thief.ask(holder, act)
    with refused_with("no-session"):
        thief.ask("store", to_store.ReadPlaces(handle, inbox, EVERYTHING))
    thief.ask("keyring", to_keyring.EndSession(handle))  # nor can the thief end it
    for holder, act in acts:  # the control: where the handle belongs each of them succeeds
        honest.ask(holder, act)
    assert honest.ask("keyring", arrived).keys[0] is not None
    honest.ask("keyring", to_keyring.EndSession(handle))
    cell.holders.run(asyncio.sleep(0.1))
    for holder, act in acts:
        with refused_with("no-session"):
            honest.ask(holder, act)


# --- access deletes a stranger's message -------------------------------------------------------------------------


def test_access_with_a_session_of_its_own_can_neither_delete_nor_change_nor_read_a_strangers_mail(cell: Cell) -> None:
    victim, mallory = cell.add_account(), cell.add_account()
    cell.deliver(victim, message("one"), message("two"))
    cell.deliver(mallory, message("mine"))
    honest, hostile = access_worker(cell), access_worker(cell)
    theirs, own = honest.log_in(victim), hostile.log_in(mallory)
    inbox, own_inbox = honest.inbox(theirs), hostile.inbox(own)
    row = honest.ask("store", to_store.ReadRows(theirs, inbox, EVERYTHING)).rows[0]
    new = secrets.token_bytes(16)
    copy = to_store.Copy(victim.id, new, b"box", 1, 1, 1, 1, 0)
    entry = to_store.FiledEntry(row.email, 0, b"slot")
    acts: list[Callable[[], object]] = [
        lambda: hostile.read(to_store.Expunge(stamp(), own, inbox, EVERYTHING)),
        lambda: hostile.read(to_store.StoreFlags(stamp(), own, inbox, EVERYTHING, to_store.FlagMode.ADD, 8)),
        lambda: hostile.read(to_store.CopyMessages(stamp(), own, inbox, EVERYTHING, own_inbox, move=True)),
        lambda: hostile.read(to_store.CopyMessages(stamp(), own, own_inbox, EVERYTHING, inbox, move=False)),
        lambda: hostile.ask("store", to_store.DeleteMailbox(stamp(), own, inbox)),
        lambda: hostile.ask("store", to_store.AppendMessage(stamp(), own, own_inbox, copy, 0), b"abc"),
        lambda: hostile.read(to_store.ReadColumns(own, inbox, 63)),
        lambda: hostile.read(to_store.ReadPart(own, row.email, to_store.Part.BODY)),
    ]
    for act in acts:
        with refused_with("no-such-mailbox", "no-such-message", "no-right"):
            act()
    # Requests that may name what is not there: nothing of the stranger's comes or changes.
    assert hostile.read(to_store.ReadParts(own, to_store.Part.HEADER, (row.email,))) == (to_store.SizedParts((0,)), b"")
    hostile.ask("store", to_store.FileMessages(stamp(), own, 1, 1, 0, 1, (entry,)), b"page")
    opened = hostile.ask("keyring", to_keyring.OpenArrived(own, (to_keyring.ArrivedKey(row.email, row.sealed_key),)))
    assert opened.keys == (None,)
    assert honest.ask("store", to_store.ReadRows(theirs, inbox, EVERYTHING)).rows[0] == row
    assert subjects(cell, victim) == 2
    # The control: in its own mailbox the same acts work.
    assert hostile.read(to_store.StoreFlags(stamp(), own, own_inbox, EVERYTHING, to_store.FlagMode.ADD, 8))[0].changed
    assert hostile.read(to_store.Expunge(stamp(), own, own_inbox, EVERYTHING))[0].expunged == 1


def test_what_peers_does_not_name_ends_the_edge_of_whoever_says_it(cell: Cell) -> None:
    victim = cell.add_account()
    cell.deliver(victim, message("kept"))
    handle = access_worker(cell).log_in(victim)
    before = len(cell.violations)
    said: list[tuple[str, str, Request[Any]]] = [
        ("mx", "store", to_store.ListMailboxes(handle)),
        ("submit", "store", to_store.DestroyAccount(stamp(), victim.id)),
        ("access", "keyring", to_keyring.CheckHalf(victim.id, 0, bytes(32), bytes(32), Scope.IMAP, bytes(16))),
        ("courier", "keyring", to_keyring.OpenPages(handle, (1,))),
        ("auth", "keyring", to_keyring.RedeemLogin(bytes(16), victim.id, Scope.IMAP)),
        ("access", "store", to_store.GrantSessions((), True, 0)),
    ]
    for number, (compartment, holder, request) in enumerate(said, 1):
        hostile = Worker(cell, compartment, holder)
        with pytest.raises(TemporaryFailure):
            cell.holders.run(hostile.exchange.edge_to(holder).call(request, None, 5.0))  # type: ignore[union-attr]
        assert len(cell.violations) == before + number, (compartment, request)
    del cell.violations[before:]
    assert subjects(cell, victim) == 1


def test_courier_cannot_have_a_stored_message_opened_as_a_queued_one(cell: Cell) -> None:
    victim = cell.add_account()
    cell.deliver(victim, message("secret"))
    honest, courier = access_worker(cell), Worker(cell, "courier", "keyring")
    handle = honest.log_in(victim)
    row = honest.ask("store", to_store.ReadRows(handle, honest.inbox(handle), EVERYTHING)).rows[0]
    with pytest.raises(IntegrityError):
        courier.ask("keyring", to_keyring.OpenQueued(row.email, row.sealed_key))


# --- auth asks with another's account ----------------------------------------------------------------------------


def test_auth_that_asks_with_anothers_account_admits_nobody(tmp_path: Path) -> None:
    """It has seen mallory's password typed, and knows the nonce that the victim's gate drew."""

    async def scenario(halves: TwoHalves) -> None:
        victim, mallory = await halves.add_account(b"the victim's"), await halves.add_account(b"known to auth")
        service = halves.services["auth"]._auth
        half = service.rows.find(mallory, 0)
        known = await service.stretching.stretch(b"known to auth", half.salt, half.parameters)
        halves.exchanges["hostile"] = halves.exchange("auth")
        halves.connect("hostile", "keyring")

        async def ask(account: bytes, nonce: bytes, scope: int = Scope.IMAP) -> object:
            check = to_keyring.CheckHalf(account, 0, known.tight, known.wrap_key, scope, nonce)  # type: ignore[arg-type]
            return await halves.ask("hostile", "keyring", check)

        nonce = secrets.token_bytes(16)
        with refused("bad-credentials"):  # mallory's tight under the victim's account
            await ask(victim, nonce)
        with refused("bad-credentials"):
            await halves.ask("access", "keyring", to_keyring.RedeemLogin(nonce, victim, Scope.IMAP))
        await ask(mallory, nonce)  # her own account under the victim's nonce: her check, not the victim's
        with refused("bad-credentials"):
            await halves.ask("access", "keyring", to_keyring.RedeemLogin(nonce, victim, Scope.IMAP))
        with refused("bad-credentials"):  # and the nonce is used up, also for her
            await halves.ask("access", "keyring", to_keyring.RedeemLogin(nonce, mallory, Scope.IMAP))
        await ask(mallory, nonce := secrets.token_bytes(16), Scope.SUBMIT)  # a scope that the gate did not log in for
        with refused("bad-credentials"):
            await halves.ask("access", "keyring", to_keyring.RedeemLogin(nonce, mallory, Scope.SUBMIT))
        token = (await halves.create(AccountId(secrets.token_bytes(16)))).token
        add = to_keyring.AddHalf(stamp(), victim, 0, 9, known.tight, known.wrap_key, Scope.ALL, token)
        with refused("bad-token"):  # the token of one account sets no half of another's
            await halves.ask("hostile", "keyring", add)
        await ask(mallory, nonce := secrets.token_bytes(16))  # the control
        await halves.ask("access", "keyring", to_keyring.RedeemLogin(nonce, mallory, Scope.IMAP))
        assert await halves.admits(victim, b"the victim's")

    run_halves(tmp_path, scenario)


# --- directory swaps a public key --------------------------------------------------------------------------------


def _by_another_key(cell: gate_cell.Cell, victim: gate_cell.Account) -> BindingRow:
    seed = MailboxSeed(gate_cell.TENANT, victim.id, 1, new_secret())
    return BindingRow(victim.id, sign_binding(seed, Ed25519PrivateKey.generate(), key_version=1).record)


def _of_another_account(cell: gate_cell.Cell, victim: gate_cell.Account) -> BindingRow:
    return BindingRow(victim.id, cell.add("mallory").binding.record)


def _of_another_tenant(cell: gate_cell.Cell, victim: gate_cell.Account) -> BindingRow:
    seed = MailboxSeed(TenantId("stnet"), victim.id, 1, new_secret())
    return BindingRow(victim.id, sign_binding(seed, cell.signing, key_version=1).record)


def _with_its_key_replaced(cell: gate_cell.Cell, victim: gate_cell.Account) -> BindingRow:
    real, other = victim.binding.record, new_secret()
    key = victim.seed.message_public_key()
    assert key in real
    return BindingRow(victim.id, real.replace(key, other))


SWAPS = [_by_another_key, _of_another_account, _of_another_tenant, _with_its_key_replaced]


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("compartment", ["mx", "submit"])
def test_gates_seal_to_no_key_that_directory_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compartment: str, swap: Callable[..., BindingRow]
) -> None:
    monkeypatch.chdir(tmp_path)

    async def scenario(cell: gate_cell.Cell) -> None:
        victim, sender = cell.add("victim"), cell.add("sender")
        client = await Client.open(cell.ports[_LISTENER[compartment]], tls=_TLS[compartment])
        await client.expect("EHLO client.example", "250")
        if compartment == "submit":
            await client.expect(f"AUTH PLAIN {gate_plain(sender.address)}", "235 ")
        await client.expect(f"MAIL FROM:<{sender.address}>", "250 ")
        await client.expect(f"RCPT TO:<{victim.address}>", "250 ")  # the control: the true key
        await client.expect("RSET", "250 ")
        real, victim.binding = victim.binding, swap(cell, victim)
        await client.expect(f"MAIL FROM:<{sender.address}>", "250 ")
        await client.expect(f"RCPT TO:<{victim.address}>", "4")
        await client.expect("DATA", "5")  # no recipient is left
        assert cell.deliveries == [] and cell.attempts == []
        await client.expect("RSET", "250 ")
        victim.binding = real
        answer = await client.deliver(sender.address, [victim.address], b"Subject: x\r\n\r\nx\r\n")
        assert answer.startswith("250 ")
        assert [address for address, _ in cell.messages()] == [victim.address]
        await client.close()

    gate_cell.run_with(scenario, compartment, [_LISTENER[compartment]])


_LISTENER = {"mx": "mx", "submit": "submissions"}
_TLS = {"mx": "", "submit": gate_cell.HOSTNAMES["submit"]}


def gate_plain(address: str) -> str:
    """SASL PLAIN's initial response."""
    return base64.b64encode(f"\0{address}\0{gate_cell.PASSWORD}".encode()).decode()
