"""A console that an attacker runs while sessions of staff pass through it: cases, codes, quotas, classes, files."""

import json
import secrets
from dataclasses import replace
from typing import Any

from bulkhead.boundary.codec import decode_reply, encode_request
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_auth, to_directory, to_store
from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.support import ACT_NUMBERS, CASE_HOLDERS
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_console import open_session
from bulkhead.drill.semantic_orders import MODULES, begin, install
from bulkhead.holder import staff
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.case import Case
from bulkhead.records.provision import Chunk, account_of_line, chunk_hash, chunks_of, root_of
from bulkhead.records.roster import Policy

CODE = b"27182818"


async def ask(console: Exchange, token: bytes, holder: str, request: Any, *, rehearse: bool = False) -> Any:
    """The answer to a carried request, or the word of its refusal."""
    carried = MODULES[holder].AskAsStaff(token, encode_request(request), b"", rehearse)
    return await answer(console, holder, carried)


async def _sessions(cell: BareCell, *officers: str) -> tuple[Exchange, dict[str, bytes], bool]:
    console, tokens = cell.worker("console"), {name: secrets.token_bytes(32) for name in officers}
    opened = [await open_session(cell, console, name, token) for name, token in tokens.items()]
    return console, tokens, all(opened)


async def _open(console: Exchange, token: bytes, data: bytes, approvals: Any) -> list[Any]:
    return [await ask(console, token, name, MODULES[name].OpenCase(stamp(), data, approvals)) for name in CASE_HOLDERS]


async def _consent(cell: BareCell, person: Person) -> None:
    copies = (bytes(bytearray(person.password)), bytes(bytearray(CODE)))
    await cell.ask("cli", "auth", to_auth.GiveConsent(stamp(), person.account, *copies))


def _act(case: Case, code: bytes, act: str = "unlock") -> to_auth.ActInCase:
    return to_auth.ActInCase(stamp(), case.number, ACT_NUMBERS[act], bytes(bytearray(code)))


async def work_cases(cell: BareCell) -> Finding:
    """Cases that no officer signed, looks and acts in another's, codes tried in rehearsals, after a case was closed."""
    people = await begin(cell)
    person, victim = await cell.add_person(), await cell.add_person()
    console, tokens, control = await _sessions(cell, "sup", "ada", "eng")
    case, crossed = people.case(person.account, person.address), people.case(victim.account, victim.address)
    data, approvals = people.signed_case(case)
    tries = [
        (crossed.encode(), ()), (crossed.encode(), approvals), people.signed_case(crossed, "ada"),
        people.signed_case(replace(crossed, officer="ada"), "ada"), people.signed_case(replace(crossed, roster=0)),
        people.signed_case(replace(crossed, expires=crossed.issued + 86_400_000)),
    ]  # fmt: skip
    got = [row for one in tries for row in await _open(console, tokens["sup"], *one)]
    got += await _open(console, tokens["eng"], *people.signed_case(crossed, "eng"))
    opened = await _open(console, tokens["sup"], data, approvals)
    await _consent(cell, person)
    card = to_directory.ShowCard(stamp(), case.number, person.address)
    for token in (tokens["ada"], tokens["eng"], bytes(32)):
        got += [await ask(console, token, "directory", card), await ask(console, token, "auth", _act(case, CODE))]
        got.append(await ask(console, token, "store", to_store.ShowUsage(stamp(), case.number)))
    got.append(
        await ask(console, tokens["sup"], "directory", to_directory.ShowCard(stamp(), case.number, victim.address))
    )
    guesses = [await ask(console, tokens["sup"], "auth", _act(case, b"%08d" % n), rehearse=True) for n in range(10)]
    got += [*guesses, await ask(console, tokens["sup"], "auth", _act(case, CODE), rehearse=True)]
    got.append(await ask(console, tokens["sup"], "directory", card, rehearse=True))
    shown = await ask(console, tokens["sup"], "directory", to_directory.ShowCard(stamp(), case.number, person.address))
    done = await ask(console, tokens["sup"], "auth", _act(case, CODE))
    await ask(console, tokens["sup"], "directory", to_directory.CloseCase(stamp(), case.number))
    late = to_directory.ShowCard(stamp(), case.number, person.address)
    got.append(await ask(console, tokens["sup"], "directory", late))
    control = control and not any(isinstance(one, str) for one in (*opened, shown, done))
    with weakened(staff.Staff, "_require_own", lambda *_: None):  # nobody looks whose case it is
        again = people.case(person.account, person.address)
        await _open(console, tokens["sup"], *people.signed_case(again))
        taken = await ask(
            console, tokens["ada"], "directory", to_directory.ShowCard(stamp(), again.number, person.address)
        )
    return Finding(sum(not isinstance(one, str) for one in got), len(got), control and not isinstance(taken, str))


async def allow(cell: BareCell) -> Finding:
    """Quotas, classes and logins that no role of the sessions at hand may change; stores of accounts that are none."""
    await begin(cell)
    person, (console, tokens, control) = await cell.add_person(), await _sessions(cell, "ada", "sec", "sup", "eng")
    login = to_directory.ClassRow("closed", 1, to_directory.Service.LOGIN, 0, 0)
    made = await ask(console, tokens["ada"], "directory", to_directory.DefineClass(stamp(), login))
    got = []
    for name in ("sec", "sup", "eng"):
        for holder, request in (
            ("directory", to_directory.SetQuota(stamp(), person.address, 1)),
            ("directory", to_directory.SetClass(stamp(), person.address, "closed")),
            ("directory", to_directory.DefineClass(stamp(), login)),
            ("store", to_store.LimitAccount(stamp(), person.account, 1)),
        ):
            got.append(await ask(console, tokens[name], holder, request))
    ada = tokens["ada"]
    got.append(await ask(console, ada, "directory", to_directory.SetClass(stamp(), person.address, "closed")))
    got.append(await ask(console, ada, "directory", to_directory.SetServices(stamp(), person.address, 1, "x")))
    got.append(await ask(console, ada, "store", to_store.LimitAccount(stamp(), AccountId(new_id()), 1)))
    row = await cell.ask("cli", "directory", to_directory.ShowAccount(person.address))
    limited = await ask(console, ada, "store", to_store.LimitAccount(stamp(), person.account, 4096))
    control = control and not isinstance(made, str) and not isinstance(limited, str)
    reached = sum(not isinstance(one, str) for one in got) + (row.closed != 0 or row.quota_bytes == 1)
    return Finding(reached, len(got) + 1, control and await cell.admits("access", person))


async def _signed_file(cell: BareCell, name: str) -> tuple[bytes, Chunk]:
    """Root and chunk of a file that makes one account, its order taken by directory."""
    header = {"do": "provision", "tenant": str(cell.tenant), "name": name}
    rows = (header, {"do": "add-account", "address": f"{name}@{cell.domain}"})
    (chunk,) = chunks_of([json.dumps(row).encode() + b"\n" for row in rows])
    root = root_of(2, chunk_hash(chunk.data))
    order = cell.people.order("provision", {"root": root.hex(), "lines": 2}).encode()
    request = to_directory.SubmitOrder(stamp(), order, cell.people.by(order, "ada"))
    await cell.ask("cli", "directory", request)
    return root, chunk


async def _carried_out(cell: BareCell, console: Exchange, token: bytes, name: str, binding: BindingRow | None) -> bool:
    """Whether a signed file makes its account. binding: another than keyring's."""
    root, chunk = await _signed_file(cell, name)
    begun = to_directory.BeginProvision(stamp(), root, 2, chunk_hash(chunk.data))
    kept = to_directory.UploadChunk(stamp(), root, 0, chunk.data)
    asked = [await ask(console, token, "directory", one) for one in (begun, kept)]
    account = account_of_line(root, 2)
    made = await ask(console, token, "keyring", CreateMailboxKeys(stamp(), account, False))
    if isinstance(made, str) or any(isinstance(one, str) for one in asked):
        return False
    created: Any = decode_reply(CreateMailboxKeys, made.reply)
    given = created.binding if binding is None else BindingRow(account, binding.record)
    await ask(console, token, "directory", to_directory.CarryOutChunk(stamp(), root, 0, (given,)))
    shown = await answer(cell.exchanges["cli"], "directory", to_directory.ShowAccount(f"{name}@{cell.domain}"))
    return not isinstance(shown, str)


async def provision(cell: BareCell) -> Finding:
    """Chunks that nobody signed in place of signed ones; files without an order; other bindings; first passwords."""
    people, strict = await begin(cell), cell.people.roster(Policy(local_refused=True))
    await install(cell, strict)
    people.use(strict)
    bound = BindingRow(AccountId(new_id()), b"a mailbox key of the attacker")
    console, tokens, control = await _sessions(cell, "ada", "sec", "sup")
    ada = tokens["ada"]
    control = control and await _carried_out(cell, console, ada, "control", None)
    root, chunk = await _signed_file(cell, "signed")
    foreign = chunk.data.replace(b"signed@", b"forged@")
    other = root_of(2, chunk_hash(foreign))
    tries: list[tuple[bytes, str, Any]] = [
        (ada, "directory", to_directory.BeginProvision(stamp(), other, 2, chunk_hash(chunk.data))),
        (ada, "directory", to_directory.BeginProvision(stamp(), other, 2, chunk_hash(foreign))),
        (ada, "keyring", CreateMailboxKeys(stamp(), AccountId(new_id()), True)),
    ]
    opened = await ask(console, ada, "directory", to_directory.BeginProvision(stamp(), root, 2, chunk_hash(chunk.data)))
    tries += [
        (token, "directory", to_directory.UploadChunk(stamp(), root, number, foreign))
        for token in tokens.values()
        for number in (0, 1)
    ]
    tries += [
        (tokens[name], "directory", to_directory.UploadChunk(stamp(), root, 0, chunk.data)) for name in ("sec", "sup")
    ]
    tries.append((ada, "directory", to_directory.CarryOutChunk(stamp(), root, 0)))  # nothing is uploaded
    got = [not isinstance(await ask(console, *one), str) for one in tries]
    got.append(await _carried_out(cell, console, ada, "bound", bound))
    return Finding(sum(got), len(got), control and not isinstance(opened, str))


ACTS = (
    SemanticAct(
        "console-works-cases", "console", (Column.ADDRESSES, Column.VERIFIERS, Column.ORDERS),
        "cases unsigned, crossed, of other officers; looks and acts in another's; codes tried in rehearsals",
        "a case is opened, a card shown, or an act done",
        "the officer's own case and the code; another's where nobody looks whose it is",
        work_cases,
    ),
    SemanticAct(
        "console-allows", "console", (Column.AVAILABILITY, Column.ORDERS),
        "quotas, classes and logins with sessions of roles that may not; logins with one that may change the rest",
        "a quota, a class or a login is changed", "an admin's quota", allow,
    ),
    SemanticAct(
        "console-provisions", "console", (Column.ORDERS, Column.KEYS),
        "files without an order, chunks that nobody signed, a binding of its own, keys with a first password",
        "one is taken, or an account made of it", "the signed file with its order", provision,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
