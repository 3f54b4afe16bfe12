"""Whoever carries the support desk's requests: no mail, no key, no case of its own, no act without the code.

The desk's requests go over the edges of the command line, which what carries them plays here; it sends those alone.
"""

import secrets
from dataclasses import replace
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_store
from bulkhead.boundary.support import ACT_NUMBERS, CASE_HOLDERS, SUPPORT_ACTS
from bulkhead.drill.bare_cell import BareCell, Person, answer, letter, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.holder import cases
from bulkhead.holder import consent as codes
from bulkhead.identifiers import new_id
from bulkhead.records.case import Case

CODE = b"31415926"
_MODULES: dict[str, Any] = {"directory": to_directory, "store": to_store, "auth": to_auth}
_CONSENTED = tuple(number for number, row in SUPPORT_ACTS.items() if row.consent)


async def _begin(cell: BareCell) -> Person:
    """A roster in force, and a subscriber with mail, a session and an app password."""
    roster = cell.people.roster()
    data = cell.people.use(roster)
    for name, module in _MODULES.items():
        await cell.ask("cli", name, module.InstallRoster(stamp(), data, cell.people.sign(data)))
    person = await cell.add_person("subscriber")
    await cell.deliver(person, letter())
    request = to_auth.AddAppPassword(stamp(), person.account, _copy(person.password), new_id(), to_auth.Scope.IMAP, "")
    await cell.ask("cli", "auth", request)
    return person


async def _open(cell: BareCell, data: bytes, approvals: Any) -> list[Any]:
    cli = cell.exchanges["cli"]
    return [await answer(cli, name, _MODULES[name].OpenCase(stamp(), data, approvals)) for name in CASE_HOLDERS]


async def _act(cell: BareCell, case: bytes, act: int, code: bytes) -> Any:
    return await answer(cell.exchanges["cli"], "auth", to_auth.ActInCase(stamp(), case, act, _copy(code)))


async def _kept(cell: BareCell, person: Person) -> bool:
    """Whether session and app password are as they were."""
    rows = (await cell.ask("cli", "auth", to_auth.ListAppPasswords(person.account))).rows
    return len(rows) == 1 and any(one.account == person.account for one in cell.keyring.sessions.all())


async def act_without_code(cell: BareCell) -> Finding:
    """Every act in an open case: without a code, with wrong ones, with another's, a spent one, too many tries."""
    person, other = await _begin(cell), await cell.add_person()
    await cell.log_in("access", person)
    case = cell.people.case(person.account, person.address)
    opened = await _open(cell, *cell.people.signed_case(case))
    await cell.ask("cli", "auth", to_auth.GiveConsent(stamp(), other.account, _copy(other.password), _copy(CODE)))
    guesses = [b"", CODE, *(b"%08d" % secrets.randbelow(10**8) for _ in range(3))]
    tried = [await _act(cell, case.number, act, guess) for act in _CONSENTED for guess in guesses]
    await cell.ask("cli", "auth", to_auth.GiveConsent(stamp(), person.account, _copy(person.password), _copy(CODE)))
    wrong = [await _act(cell, case.number, _CONSENTED[0], b"%08d" % (int(CODE) + n + 1)) for n in range(5)]
    tried += [*wrong, await _act(cell, case.number, ACT_NUMBERS["end-sessions"], CODE)]
    reached = sum(not isinstance(one, str) for one in tried) + (not await _kept(cell, person))
    await cell.ask("cli", "auth", to_auth.GiveConsent(stamp(), person.account, _copy(person.password), _copy(CODE)))
    done = await _act(cell, case.number, ACT_NUMBERS["end-sessions"], CODE)
    again = await _act(cell, case.number, ACT_NUMBERS["revoke-app-passwords"], CODE)
    reached += not isinstance(again, str)
    control = not any(isinstance(one, str) for one in (*opened, done)) and not await _kept(cell, person)
    return Finding(reached, len(tried) + 1, control)


async def open_cases(cell: BareCell) -> Finding:
    """Cases of its own: unsigned, by strangers, by who may not, for another account, expired, closed, for too long."""
    person, victim = await _begin(cell), await cell.add_person()
    people = cell.people
    right = people.case(victim.account, victim.address)
    data, approvals = people.signed_case(people.case(person.account, person.address))
    tries: list[tuple[bytes, Any]] = [(right.encode(), ()), (right.encode(), approvals)]
    tries += [people.signed_case(right, signer) for signer in ("ada", "ops", "eng", "bot")]
    wrong: list[Case] = [
        replace(right, officer="ops"), replace(right, officer="eng"), replace(right, officer="bot"),
        replace(right, issued=1, expires=2), replace(right, expires=right.issued + 86_400_000),
        replace(right, roster=0), replace(right, officer="cli"),
    ]  # fmt: skip
    tries += [(people.signed_case(one, "sup" if one.officer == "cli" else "")) for one in wrong]
    reached = sum([not isinstance(row, str) for one in tries for row in await _open(cell, *one)])
    opened = await _open(cell, data, approvals)
    crossed = people.case(victim.account, person.address)  # directory alone knows whose the address is
    await _open(cell, *people.signed_case(crossed))
    own = people.case(person.account, person.address)
    await _open(cell, *people.signed_case(own))
    cli = cell.exchanges["cli"]
    shows = [(crossed.number, person.address), (own.number, victim.address), (new_id(), person.address)]
    for number, address in shows:
        card = await answer(cli, "directory", to_directory.ShowCard(stamp(), number, address))
        reached += not isinstance(card, str)
    shown = await answer(cli, "directory", to_directory.ShowCard(stamp(), own.number, person.address))
    await answer(cli, "directory", to_directory.CloseCase(stamp(), own.number))
    after = await answer(cli, "directory", to_directory.ShowCard(stamp(), own.number, person.address))
    reached += not isinstance(after, str)
    stranger = people.case(person.account, person.address)
    with weakened(cases, "check_signed", lambda *_: people.officers()[2]):  # nobody looks at signatures
        forged = await _open(cell, *people.signed_case(stranger, "bot"))
    control = not any(isinstance(one, str) for one in (*opened, shown, *forged))
    return Finding(reached, 3 * len(tries) + len(shows) + 1, control)


async def reach_mail(cell: BareCell) -> Finding:
    """What the desk is shown in a case, searched for mail, keys and names; its number taken for a session's handle."""
    person = await _begin(cell)
    case = cell.people.case(person.account, person.address)
    await _open(cell, *cell.people.signed_case(case))
    cli, access = cell.exchanges["cli"], cell.exchanges["access"]
    parts = [
        await answer(cli, "directory", to_directory.ShowCard(stamp(), case.number, person.address)),
        await answer(cli, "store", to_store.ShowUsage(stamp(), case.number)),
        await answer(cli, "auth", to_auth.ShowLoginCard(stamp(), case.number)),
    ]
    said = repr(parts).encode()
    reached = sum(word in said for word in (b"secret", b"Text", b"INBOX", person.account, person.binding.record))
    handles = [
        await answer(access, "store", to_store.ListMailboxes(case.number)),
        await answer(access, "keyring", to_keyring.OpenPages(case.number, (1,))),
        await answer(access, "keyring", to_keyring.OpenNames(case.number, 1)),
    ]
    reached += sum(not isinstance(one, str) for one in handles)
    _, session = await cell.log_in("access", person)
    control = not any(isinstance(one, str) for one in parts) and not isinstance(
        await answer(access, "store", to_store.ListMailboxes(session.handle)), str
    )
    return Finding(reached, 5 + len(handles), control)


async def guess_after_restart(cell: BareCell) -> Finding:
    """More tries at a code than it has, by restarts of auth between them."""
    person = await _begin(cell)
    case = cell.people.case(person.account, person.address)
    await _open(cell, *cell.people.signed_case(case))
    give = to_auth.GiveConsent(stamp(), person.account, _copy(person.password), _copy(CODE))
    await cell.ask("cli", "auth", give)
    for number in range(6):
        await _act(cell, case.number, _CONSENTED[0], b"%08d" % number)
        if number in (2, 4):
            await cell.restart("auth")
    reached = not isinstance(await _act(cell, case.number, _CONSENTED[0], CODE), str)
    give = to_auth.GiveConsent(stamp(), person.account, _copy(person.password), _copy(CODE))
    await cell.ask("cli", "auth", give)
    with weakened(codes, "CONSENT_TRIES", 100):
        for number in range(6):
            await _act(cell, case.number, _CONSENTED[0], b"%08d" % number)
        control = not isinstance(await _act(cell, case.number, _CONSENTED[0], CODE), str)
    return Finding(int(reached), 7, control)


def _copy(secret: bytes) -> bytes:
    return bytes(bytearray(secret))


ACTS = (
    SemanticAct(
        "support-acts-without-code", "directory", (Column.VERIFIERS, Column.AVAILABILITY),
        "every act of the desk in an open case: no code, guessed ones, another's, after five wrong ones, a spent one",
        "an act is done", "the subscriber's code, once", act_without_code,
    ),
    SemanticAct(
        "support-cases-forged", "directory", (Column.ADDRESSES, Column.ORDERS),
        "cases unsigned, by strangers, by roles that may not, too long, crossed with another account; a closed one",
        "a case is opened, or a card shown", "an officer's case; a stranger's where nobody looks at signatures",
        open_cases,
    ),
    SemanticAct(
        "support-reaches-mail", "directory", (Column.STORED_MAIL, Column.KEYS),
        "search what a case shows for mail, keys and folders; use its number as a session's handle",
        "a message, a key or a folder's name", "a session's handle", reach_mail,
    ),
    SemanticAct(
        "support-guesses-codes", "auth", (Column.VERIFIERS,),
        "more guesses at a code than it has tries, with restarts of auth between them", "the code still holds",
        "the same without a limit", guess_after_restart,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
