"""App passwords: auth alone makes none, and a gate with one gets no further than it was made for, nor after its end."""

import secrets

from bulkhead.boundary.messages.to_auth import AddAppPassword, RevokeAppPasswords, Scope
from bulkhead.boundary.messages.to_keyring import AddHalf, CheckHalf, CreateMailboxKeys, OpenPages
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_auth import HostileAuth
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.app_password import AppPassword
from bulkhead.records.credential import APP_PASSWORD_BYTES, Stretched, stretch_app_password

CRED = 1


async def add_without_main(cell: BareCell) -> Finding:
    """Halves of app passwords of its own making: by a guess, by another's main password, by tokens."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    hostile = HostileAuth(cell)
    known = await hostile.learn(mallory)
    typed = await hostile.learn(victim)
    await hostile.take_over()
    fresh = AccountId(new_id())
    token = (await cell.ask("cli", "keyring", CreateMailboxKeys(stamp(), fresh))).token

    async def adds(account: AccountId, by_token: bytes | None, main: Stretched | None) -> bool:
        secret = secrets.token_bytes(APP_PASSWORD_BYTES)
        made = stretch_app_password(secret, account, CRED)
        by_main = (main.tight, main.wrap_key) if main else ()
        add = AddHalf(stamp(), account, CRED, 1, made.tight, made.wrap_key, Scope.IMAP, by_token, *by_main)
        await answer(hostile.exchange, "keyring", add)
        check = CheckHalf(account, CRED, made.tight, made.wrap_key, Scope.IMAP, secrets.token_bytes(16))
        return not isinstance(await answer(hostile.exchange, "keyring", check), str)

    guess = Stretched(secrets.token_bytes(32), secrets.token_bytes(32))
    tries = [
        (victim.account, None, None), (victim.account, None, guess), (victim.account, None, _copy(known)),
        (victim.account, token, None), (victim.account, secrets.token_bytes(16), guess), (fresh, token, None),
        (victim.account, None, Stretched(typed.tight[:16] + bytes(16), typed.wrap_key)),
    ]  # fmt: skip
    reached = sum([await adds(*one) for one in tries])
    control = await adds(mallory.account, None, _copy(known))  # with the main password that is typed it may
    return Finding(reached, len(tries), control)


async def go_beyond_app_password(cell: BareCell) -> Finding:
    """Logins with one for submit alone and with a revoked one, and what the revoked one had opened."""
    person, other = await cell.add_person(), await cell.add_person()
    submit_only, phone = await _made(cell, person, Scope.SUBMIT), await _made(cell, person, Scope.IMAP | Scope.SUBMIT)
    control = all([await _admits(cell, gate, person, phone) for gate in _SCOPES])
    control = control and await _admits(cell, "submit", person, submit_only)
    _, session = await cell.log_in("access", person, phone)
    control = control and not isinstance(await _open_page(cell, session.handle), str)
    reached = [
        await cell.admits("access", person, submit_only, Scope.IMAP),
        await cell.admits("access", person, submit_only, Scope.POP),
        await cell.admits("access", person, phone, Scope.POP),
        await _admits(cell, "access", other, phone),
    ]
    await cell.ask("cli", "auth", RevokeAppPasswords(stamp(), person.account, 0))
    reached += [await _admits(cell, gate, person, password) for gate in _SCOPES for password in (phone, submit_only)]
    reached.append(not isinstance(await _open_page(cell, session.handle), str))
    return Finding(sum(reached), len(reached), control)


_SCOPES = {"access": Scope.IMAP, "submit": Scope.SUBMIT}


async def _made(cell: BareCell, person: Person, scope: int) -> bytes:
    secret = secrets.token_bytes(APP_PASSWORD_BYTES)
    added = await cell.ask("cli", "auth", AddAppPassword(stamp(), person.account, person.password, secret, scope, ""))
    return AppPassword(added.cred, secret).text().encode()


async def _admits(cell: BareCell, gate: str, person: Person, password: bytes) -> bool:
    return await cell.admits(gate, person, password, _SCOPES[gate])


async def _open_page(cell: BareCell, handle: bytes) -> object:
    return await answer(cell.exchanges["access"], "keyring", OpenPages(handle, (1,)))


def _copy(stretched: Stretched) -> Stretched:
    return Stretched(bytes(bytearray(stretched.tight)), bytes(bytearray(stretched.wrap_key)))


ACTS = (
    SemanticAct(
        "auth-adds-app-password", "auth", (Column.VERIFIERS,), "add an app password without the account's main one",
        "its half is accepted", "the main password, as it was typed", add_without_main,
    ),
    SemanticAct(
        "access-outgrows-app-password", "access", (Column.STORED_MAIL,),
        "log in with an app password of another service, of another account, and with a revoked one",
        "a session, or a key for the one that it had", "the same before it was revoked, where it is for",
        go_beyond_app_password,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
