"""mx and submit are compromised: they guess addresses, deliver where they should not, and speak for others."""

import asyncio
import os
import secrets
import signal
import socket
import statistics
import time
from typing import Any

from bulkhead.boundary.codec import PROTOCOL, FrameKind, Hello, encode, encode_request, frame
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store as s
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_directory import (
    BindingRow,
    CheckSender,
    FindLogin,
    Recipient,
    RecipientVerdict,
    ResolveRecipient,
)
from bulkhead.boundary.messages.to_keyring import ArrivedKey, OpenArrived, OpenPages, RedeemLogin, Session
from bulkhead.boundary.messages.to_queue import ListQueue
from bulkhead.drill.bare_cell import SOURCE, BareCell, answer, letter, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_access import begin, gets
from bulkhead.errors import Error
from bulkhead.gate.delivery import Sealer, deliver
from bulkhead.identifiers import AccountId, TenantId, new_id, parse_address
from bulkhead.records.mailbox import VerifiedBinding
from bulkhead.records.seed import MailboxSeed, new_secret

GUESSES = 4000
LIMIT = 2000  # directory.unknown_per_worker_minute is 60,000 by default
PEOPLE = 8
HONEST_CALLS = 150
SLOW_SECONDS = 1.0


async def enumerate_addresses(cell: BareCell) -> Finding:
    """Every guess that one worker can put to directory in a minute; and patterns, which must confirm nothing."""
    cell.services["directory"]._directory.guesses.limit = LIMIT
    people = [await cell.add_person() for _ in range(PEOPLE)]
    worker = cell.worker("mx")
    patterns = ["%", "*", "_", "", "@", f"%@{cell.domain}", f"*@{cell.domain}", f"_{people[0].address[1:]}",
                "' OR 1=1 --", f"{people[0].address}\0", f"..@{cell.domain}"]  # fmt: skip
    reached = 0
    for pattern in patterns:
        found = await answer(worker, "directory", ResolveRecipient(pattern))
        reached += isinstance(found, Recipient) and found.verdict == RecipientVerdict.LOCAL
    begin_at, confirmed = time.monotonic(), 0
    known = {person.address for person in people}
    guesses = [f"{secrets.token_hex(4)}@{cell.domain}" for _ in range(GUESSES)]
    guesses[:: GUESSES // PEOPLE] = [person.address for person in people]
    for start in range(0, GUESSES, 200):
        part = guesses[start : start + 200]
        answers = await asyncio.gather(*(answer(worker, "directory", ResolveRecipient(guess)) for guess in part))
        confirmed += sum(isinstance(a, Recipient) and a.verdict == RecipientVerdict.LOCAL for a in answers)
    per_minute = int(GUESSES / (time.monotonic() - begin_at) * 60)
    in_the_limit = sum(guess in known for guess in guesses[: LIMIT + PEOPLE])
    reached += max(0, confirmed - in_the_limit)
    cell.services["directory"]._directory.guesses.limit = 0  # directory counts no guesses
    control = 0
    for person in people:
        found = await answer(worker, "directory", ResolveRecipient(person.address))
        control += isinstance(found, Recipient) and found.verdict == RecipientVerdict.LOCAL
    note = f"asked at {per_minute:,} a minute; 60,000 unknown ones are answered by default, each right one among them"
    return Finding(reached, len(patterns) + PEOPLE, control == PEOPLE, note)


async def deliver_elsewhere(cell: BareCell) -> Finding:
    """Mail for accounts of other tenants: under their account id, sealed to their key, by their address."""
    own = await cell.add_person()
    stranger = AccountId(new_id())  # as another cell would have drawn it
    seed = MailboxSeed(TenantId("other"), stranger, 1, new_secret())
    binding = VerifiedBinding(seed.tenant, stranger, 1, seed.message_private_key().public_key())
    worker, before = cell.worker("mx"), (await cell.ask("cli", "store", s.CountStore())).messages
    sealer = Sealer(cell.tenant, cell.settings["pinned"]["binding_key"])

    async def delivers(account: AccountId, believed: VerifiedBinding) -> bool:
        with weakened(sealer, "verify", lambda _: believed):
            try:
                await deliver(worker, sealer, [BindingRow(account, b"x")], letter(), 0, actor="mx")
            except Error:
                return False
        return True

    reached = int(await delivers(stranger, binding))
    mixed = VerifiedBinding(seed.tenant, AccountId(new_id()), 1, binding.public_key)
    reached += await delivers(stranger, mixed)
    for address in ("someone@other.example", "someone@[127.0.0.1]"):
        found = await answer(worker, "directory", ResolveRecipient(address))
        reached += isinstance(found, Recipient) and found.verdict == RecipientVerdict.LOCAL
    reached += worker.edge_to("store") is not None and any(
        edge.peer.compartment not in {"directory", "store", "queue"} for edge in worker.edges()
    )  # what queue takes from it: semantic_forwards.py
    reached += (await cell.ask("cli", "store", s.CountStore())).messages > before
    await cell.deliver(own, letter())
    return Finding(reached, 6, (await cell.ask("cli", "store", s.CountStore())).messages == before + 1)


async def name_existing(cell: BareCell) -> Finding:
    """Messages that lie in a mailbox: read, list, delete by mx and submit; a delivery under a message's own id."""
    victim = await cell.add_person()
    await cell.deliver(victim, letter("one"))
    live = await begin(cell, cell.worker("access"), victim)
    handle, box, row = live.handle, live.inbox, live.row
    acts: list[Request[Any]] = [
        s.ListMailboxes(handle), s.ReadRows(handle, box, ((1, 9),)), s.ReadPart(handle, row.email, s.Part.BODY),
        s.Expunge(stamp(), handle, box, ((1, 9),), False), s.DestroyAccount(stamp(), victim.account),
        s.GrantSessions((), True, 0), s.CountStore(),
    ]  # fmt: skip
    reached = 0
    for gate in ("mx", "submit"):
        for act in acts:
            reached += await violates(cell.worker(gate), "store", act)
    copy = s.Copy(victim.account, row.email, b"box", 3, 1, 1, 1, 0)
    await answer(cell.worker("mx"), "store", s.DeliverMail(stamp(), (copy,)), b"abc")
    rows = (await live.worker.to("store").call(s.ReadRows(handle, box, ((1, 9),)))).rows
    reached += rows[0] != row
    opened = OpenArrived(handle, (ArrivedKey(row.email, row.sealed_key),))
    reached += await gets(live.worker, "keyring", opened) != 1
    control = await gets(live.worker, "store", s.ReadPart(handle, row.email, s.Part.HEADER)) > 0
    return Finding(reached, 2 * len(acts) + 2, control)


async def forge_mail(cell: BareCell) -> Finding:
    """Residue: it seals what it likes to any account of its cell, as if it had come from anyone."""
    victim = await cell.add_person()
    await cell.deliver(victim, letter("forged"), gate="mx")
    live = await begin(cell, cell.worker("access"), victim)
    act = OpenArrived(live.handle, (ArrivedKey(live.row.email, live.row.sealed_key),))
    return Finding(await gets(live.worker, "keyring", act), 1, True, "nothing that exists changes")


def _flood(sock: socket.socket, request: Request[Any]) -> None:
    """In a process of its own: the same request as fast as it is taken, answers thrown away, until it is killed."""
    sock.setblocking(True)
    hello = frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "hostile", 1)))
    payload = encode_request(request)
    burst = b"".join(frame(FrameKind.REQUEST, call, payload) for call in range(1, 201))
    try:
        sock.sendall(hello)
        sock.setblocking(False)
        left = memoryview(burst)
        while True:
            try:
                left = left[sock.send(left) :] or memoryview(burst)
            except BlockingIOError:
                pass
            try:
                while sock.recv(1 << 18):
                    pass
            except BlockingIOError:
                time.sleep(0.0005)
    except OSError:
        pass
    finally:
        os._exit(0)


def _hostile_process(cell: BareCell, compartment: str, server: str, request: Request[Any]) -> int:
    """A forked process on an edge of its own; its pid."""
    ours, theirs = socket.socketpair()
    me = Channel(compartment, 9, next(cell._numbers))
    pid = os.fork()
    if pid == 0:
        _flood(theirs, request)
    theirs.close()
    cell.exchanges[server].attach(ours, me, 1)
    return pid


async def _paced(exchange: Exchange, handle: bytes, login: str) -> list[float]:
    """Seconds of each honest call, one after the other: a login look-up, a listing."""
    found = []
    for number in range(HONEST_CALLS):
        start = time.monotonic()
        asked: Request[Any] = FindLogin(login) if number % 2 else s.ListMailboxes(handle)
        result = await answer(exchange, "directory" if number % 2 else "store", asked)
        found.append(SLOW_SECONDS * 10 if isinstance(result, str) else time.monotonic() - start)
    return found


async def starve(cell: BareCell) -> Finding:
    """Three hostile mx processes ask directory and store as fast as they can while access asks for its subscribers."""
    person = await cell.add_person()
    access = cell.worker("access")
    _, session = await cell.log_in(access, person)
    before = await _paced(access, session.handle, person.address)
    served = 0
    floods: list[tuple[str, Request[Any]]] = [
        ("directory", ResolveRecipient(f"nobody@{cell.domain}")), ("directory", ResolveRecipient(person.address)),
        ("store", s.CheckRoom(person.account, 1)),
    ]  # fmt: skip
    pids = [_hostile_process(cell, "mx", server, request) for server, request in floods]
    try:
        await asyncio.sleep(0.1)
        under = await _paced(access, session.handle, person.address)
        served = sum(edge.peer.worker == 9 for name in ("directory", "store") for edge in cell.exchanges[name].edges())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    reached = sum(seconds > SLOW_SECONDS for seconds in under)
    was, now = statistics.median(before) * 1000, statistics.median(under) * 1000
    worst = max(under) * 1000
    note = f"an honest call takes {now:.2f} ms (worst {worst:.0f}), {was:.2f} without the flood"
    return Finding(reached, HONEST_CALLS, served == 3 and max(before) < SLOW_SECONDS, note)


async def speak_for_others(cell: BareCell) -> Finding:
    """Residue: an envelope and a From under another's address into the queue. directory itself says no."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    worker = cell.worker("submit")
    honest = await answer(worker, "directory", CheckSender(mallory.account, victim.address))
    text = letter().replace(b"From: a@example.org", f"From: {victim.address}".encode())
    sender, to = parse_address(victim.address), parse_address("friend@far.example")
    await cell.outbound().enqueue(worker, sender, [to], text, account=mallory.account)
    rows = (await cell.ask("cli", "queue", ListQueue())).rows
    reached = sum(row.reverse_path == victim.address for row in rows)
    return Finding(reached, 1, honest == "not-owner", "also under an address of another domain")


async def submit_reads(cell: BareCell) -> Finding:
    """With a password typed at submit: a session that opens mail, from submit's own edges."""
    person = await cell.add_person()
    await cell.deliver(person, letter())
    worker = cell.worker("submit")
    live = await begin(cell, cell.worker("access"), person)
    reached = tried = 0
    for scope in (Scope.IMAP, Scope.POP, Scope.WEB, Scope.JMAP, Scope.ALL, Scope.SUBMIT | Scope.IMAP):
        tried += 1
        nonce = secrets.token_bytes(16)
        await answer(worker, "auth", Authenticate(person.account, person.password, scope, SOURCE, nonce))
        session = await answer(worker, "keyring", RedeemLogin(nonce, person.account, scope))
        reached += not isinstance(session, str)
    _, own = await cell.log_in(worker, person, scope=Scope.SUBMIT)
    tried += 3
    reached += own.metadata_key != bytes(32)
    reached += await answer(cell.worker("access"), "store", s.ListMailboxes(own.handle)) != "no-session"
    arrived = OpenArrived(own.handle, (ArrivedKey(live.row.email, live.row.sealed_key),))
    reached += await violates(worker, "keyring", arrived)
    reached += await violates(cell.worker("submit"), "keyring", OpenPages(own.handle, (1,)))
    return Finding(reached, tried + 1, isinstance(own, Session) and bool(live.handle))


ACTS = (
    SemanticAct(
        "mx-enumerates-addresses", "mx", (Column.ADDRESSES,),
        "patterns, and 4,000 guesses as fast as directory answers",
        "a pattern confirms an address, or a guess past the limit", "directory counts no guesses", enumerate_addresses,
    ),
    SemanticAct(
        "mx-delivers-elsewhere", "mx", (Column.OTHER_TENANTS,), "mail for accounts and addresses of other tenants",
        "store takes it, or directory knows them", "the same for its own account", deliver_elsewhere,
    ),
    SemanticAct(
        "mx-names-messages", "mx", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        "read, list, expunge, grant, destroy; deliver under the id of a message that is there",
        "one is served or changes it", "access may",
        name_existing,
    ),
    SemanticAct(
        "mx-forges", "mx", (Column.MAIL_IN_TRANSIT,), "a message that nobody sent", "it arrives", "mail arrives by mx",
        forge_mail, 1, "whoever receives mail from the world can make it up; into its own cell only",
    ),
    SemanticAct(
        "mx-starves-access", "mx", (Column.AVAILABILITY,), "three processes flood directory and store",
        "an honest call of access takes over 1 s or fails", "the same calls without a flood", starve,
    ),
    SemanticAct(
        "submit-speaks-for-others", "submit", (Column.MAIL_ALTERED,), "envelope and From under another's address",
        "queue takes it", "directory refuses the address", speak_for_others, 1,
        "queue believes submit about the sender; until signer asks for a session",
    ),
    SemanticAct(
        "submit-reads", "submit", (Column.STORED_MAIL, Column.KEYS), "sessions of every scope with a typed password",
        "a session that opens keys or mail", "access gets one", submit_reads,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
