"""auth is compromised: it sees every password typed, knows every nonce, and asks keyring what it likes."""

import asyncio
import secrets
from dataclasses import replace
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Done, Request, Stamp
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_keyring import AddHalf, CheckHalf, CreateMailboxKeys, DropHalves, RedeemLogin
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, new_id
from bulkhead.keyring.logins import Checked
from bulkhead.records.credential import MAIN_PASSWORD, Stretched

LIMIT = 20  # failures an hour in the probe of keyring's own limit
NAMES = 24  # accounts, and as many made up
SPRAYED = 4  # accounts that may fail in an hour in the probe of that ceiling, and as many beyond it


class HostileAuth:
    """In auth's place; `plan` says what it asks keyring before it answers yes to every login."""

    def __init__(self, cell: BareCell) -> None:
        self._cell = cell
        self.exchange: Exchange
        self.plan: Any = None
        self.known: dict[bytes, Stretched] = {}  # of accounts whose password it has seen

    async def learn(self, person: Person) -> Stretched:
        """What it makes of a password that it saw typed, with its own salt: call it before it takes auth's place."""
        auth = self._cell.auth
        half = auth.rows.find(person.account, MAIN_PASSWORD)
        found: Stretched = await auth.stretching.stretch(person.password, half.salt, half.parameters)
        self.known[person.account] = found
        return found

    async def take_over(self) -> None:
        """Be auth from now on."""
        self.exchange = await self._cell.replace("auth", self, {Authenticate: _authenticate})

    async def check(self, account: bytes, stretched: Stretched, nonce: bytes, scope: int = Scope.IMAP) -> Any:
        """keyring's answer, or its refusal's code."""
        check = CheckHalf(AccountId(account), 0, stretched.tight, stretched.wrap_key, scope, nonce)
        return await answer(self.exchange, "keyring", check)


async def _authenticate(hostile: HostileAuth, _: Channel, request: Authenticate, __: object) -> Done:
    if hostile.plan is not None:
        await hostile.plan(request)
    return Done()


async def graft(cell: BareCell) -> Finding:
    """A login under the victim's name, backed at keyring by what is right for mallory."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    hostile = HostileAuth(cell)
    own = await hostile.learn(mallory)
    await hostile.take_over()

    async def under_victims_account(request: Authenticate) -> None:
        await hostile.check(victim.account, own, request.nonce, request.scope)

    async def under_own_account(request: Authenticate) -> None:
        await hostile.check(mallory.account, own, request.nonce, request.scope)

    async def for_another_scope(request: Authenticate) -> None:
        other = Scope.SUBMIT if request.scope == Scope.IMAP else Scope.IMAP
        await hostile.check(mallory.account, own, request.nonce, other)

    async def with_a_wrong_wrap(request: Authenticate) -> None:
        mixed = Stretched(own.tight, secrets.token_bytes(32))
        await hostile.check(victim.account, mixed, request.nonce, request.scope)

    plans = [under_victims_account, under_own_account, for_another_scope, with_a_wrong_wrap]
    reached = tried = 0
    for hostile.plan in plans:
        for gate, scope in (("access", Scope.IMAP), ("submit", Scope.SUBMIT)):
            tried += 1
            reached += await cell.admits(gate, victim.address, mallory.password, scope)
    hostile.plan = under_own_account
    logins = cell.keyring.logins
    take = logins.take

    def take_for_anyone(nonce: bytes, account: AccountId, scope: int, compartment: str) -> Checked:
        checked: Checked = take(nonce, mallory.account, scope, compartment)
        return replace(checked, account=account)

    with weakened(logins, "take", take_for_anyone):  # keyring compares no account when a nonce is redeemed
        control = await cell.admits("access", victim.address, mallory.password)
    return Finding(reached, tried, control)


async def say_yes(cell: BareCell) -> Finding:
    """Yes to a wrong password, without having asked keyring or having been refused by it."""
    victim = await cell.add_person()
    hostile = HostileAuth(cell)
    await hostile.take_over()

    async def guess(request: Authenticate) -> None:
        stretched = Stretched(secrets.token_bytes(32), secrets.token_bytes(32))
        await hostile.check(request.account, stretched, request.nonce, request.scope)

    reached = tried = 0
    for hostile.plan in (None, guess):
        for gate, scope in (("access", Scope.IMAP), ("access", Scope.POP), ("submit", Scope.SUBMIT)):
            tried += 1
            reached += await cell.admits(gate, victim.address, b"anything", scope)

    def believe(_: bytes, account: AccountId, scope: int, __: str) -> Checked:
        return Checked(account, scope, None)

    with weakened(cell.keyring.logins, "take", believe):  # keyring believes auth's yes
        control = await cell.admits("submit", victim.address, b"anything", Scope.SUBMIT)
    return Finding(reached, tried, control)


async def replay_nonce(cell: BareCell) -> Finding:
    """A nonce that was used is used again: on the same worker, on another, on another gate, and after its time."""
    person = await cell.add_person()
    hostile = HostileAuth(cell)
    known = await hostile.learn(person)
    await hostile.take_over()
    other = cell.worker("access")

    async def redeems(exchange: Exchange, nonce: bytes, scope: int = Scope.IMAP) -> bool:
        return not isinstance(await answer(exchange, "keyring", RedeemLogin(nonce, person.account, scope)), str)

    access, submit, reached = cell.exchanges["access"], cell.exchanges["submit"], 0
    await hostile.check(person.account, known, nonce := secrets.token_bytes(16))
    honest = await redeems(access, nonce)
    for exchange in (access, other, submit):
        reached += await redeems(exchange, nonce)
    reached += await redeems(submit, nonce, Scope.SUBMIT)
    logins = cell.keyring.logins
    await hostile.check(person.account, known, late := secrets.token_bytes(16))
    logins.forget(person.account)  # as its timer does after 10 s
    reached += await redeems(access, late)

    def keep(nonce: bytes, account: AccountId, scope: int, _: str) -> Checked:
        found = logins._checked.get(nonce)
        return found if found is not None else Checked(account, scope, None)

    await hostile.check(person.account, known, again := secrets.token_bytes(16))
    with weakened(logins, "take", keep):  # a nonce is not used up
        control = await redeems(access, again) and await redeems(other, again)
    return Finding(reached, 5, honest and control)


async def enumerate_accounts(cell: BareCell) -> Finding:
    """Tell accounts that exist from ids that do not, by what keyring answers and changes; nothing may differ."""
    people = [await cell.add_person() for _ in range(NAMES)]
    hostile = HostileAuth(cell)
    await hostile.take_over()
    real = [person.account for person in people]
    made_up = [AccountId(new_id()) for _ in people]
    token = secrets.token_bytes(16)

    async def ask(account: AccountId) -> tuple[str, ...]:
        def half() -> bytes:
            return secrets.token_bytes(32)

        requests: list[Request[Any]] = [
            CheckHalf(account, 0, half(), half(), Scope.IMAP, secrets.token_bytes(16)),
            CheckHalf(account, 7, half(), half(), Scope.SUBMIT, secrets.token_bytes(16)),
            AddHalf(stamp(), account, 0, 2, half(), half(), Scope.ALL, token),
        ]
        answers = [await answer(hostile.exchange, "keyring", request) for request in requests]
        return tuple(a if isinstance(a, str) else type(a).__name__ for a in answers)

    async def told_apart() -> int:
        seen_real = {await ask(account) for account in real}
        return sum([await ask(account) not in seen_real for account in made_up])

    reached = await told_apart()
    check = cell.keyring.logins.check
    known = {bytes(account) for account in real}

    async def frank(request: CheckHalf) -> Any:
        return await check(request) if request.account in known else await _no_such_account()

    with weakened(cell.keyring.logins, "check", frank):  # keyring says which accounts it has not
        control = await told_apart() == NAMES
    return Finding(reached, NAMES, control)


async def _no_such_account() -> Any:
    raise Refused("no such account", code="no-such-account")


async def outlast_the_limit(cell: BareCell) -> Finding:
    """Guesses online without end, with keyring restarted between them; the right password is the last guess."""
    person = await cell.add_person()
    hostile = HostileAuth(cell)
    known = await hostile.learn(person)
    await hostile.take_over()
    failures = cell.keyring.failures
    failures.limit = LIMIT

    async def guess(count: int) -> None:
        wrong = [Stretched(secrets.token_bytes(32), secrets.token_bytes(32)) for _ in range(count)]
        await asyncio.gather(*(hostile.check(person.account, one, secrets.token_bytes(16)) for one in wrong))

    await guess(LIMIT // 2)
    await cell.restart("keyring")
    cell.keyring.failures.limit = LIMIT
    await guess(LIMIT - LIMIT // 2)
    reached = 0
    reached += not isinstance(await hostile.check(person.account, known, secrets.token_bytes(16)), str)
    await cell.restart("keyring")
    cell.keyring.failures.limit = LIMIT
    reached += not isinstance(await hostile.check(person.account, known, secrets.token_bytes(16)), str)
    with weakened(cell.keyring.failures, "exhausted", lambda _: False):  # keyring keeps no count of its own
        control = not isinstance(await hostile.check(person.account, known, secrets.token_bytes(16)), str)
    return Finding(reached, 2, control, f"{LIMIT} guesses an hour here; keyring.failures_per_hour is 1,200 by default")


async def spray_accounts(cell: BareCell) -> Finding:
    """One password tried on account after account, keyring restarted between; the right ones come last."""
    people = [await cell.add_person() for _ in range(2 * SPRAYED)]
    hostile = HostileAuth(cell)
    known = [await hostile.learn(person) for person in people]
    await hostile.take_over()
    cell.keyring.failures.accounts_max = SPRAYED
    for person in people[:SPRAYED]:
        await hostile.check(person.account, Stretched(secrets.token_bytes(32), secrets.token_bytes(32)), new_id())

    async def confirmed() -> int:
        last = list(zip(people, known, strict=True))[SPRAYED:]
        answers = [await hostile.check(person.account, right, secrets.token_bytes(16)) for person, right in last]
        return sum(not isinstance(one, str) for one in answers)

    reached = await confirmed()
    await cell.restart("keyring")
    cell.keyring.failures.accounts_max = SPRAYED
    reached += await confirmed()
    with weakened(cell.keyring.failures, "_is_one_too_many", lambda _: False):  # keyring counts no accounts
        control = await confirmed() == SPRAYED
    note = f"{SPRAYED} accounts an hour here; keyring.failing_accounts_per_hour is 200,000 by default"
    return Finding(reached, 2 * SPRAYED, control, note)


async def set_a_half(cell: BareCell) -> Finding:
    """A password of its own for an account: without token, with another's token, with a used one."""
    victim = await cell.add_person()
    hostile = HostileAuth(cell)
    await hostile.take_over()
    other = AccountId(new_id())
    token = (await cell.ask("cli", "keyring", CreateMailboxKeys(stamp(), other))).token
    own = Stretched(secrets.token_bytes(32), secrets.token_bytes(32))

    async def sets(account: AccountId, token: bytes, g: int = 2) -> bool:
        add = AddHalf(stamp(), account, MAIN_PASSWORD, g, own.tight, own.wrap_key, Scope.ALL, token)
        if isinstance(await answer(hostile.exchange, "keyring", add), str):
            return False
        return not isinstance(await hostile.check(account, own, secrets.token_bytes(16)), str)

    reached = 0
    for attempt in (secrets.token_bytes(16), bytes(16), token):
        for g in (0, 1, 2, 9):
            reached += await sets(victim.account, attempt, g)
    control = await sets(other, token, 1)  # with the token that is its own it may
    return Finding(reached, 12, control)


async def impersonate_the_typed(cell: BareCell) -> Finding:
    """Residue: whoever typed a password meanwhile can be impersonated, and nobody else."""
    typed, silent = await cell.add_person(), await cell.add_person()
    hostile = HostileAuth(cell)
    known = await hostile.learn(typed)
    await hostile.take_over()

    async def plan(request: Authenticate) -> None:
        await hostile.check(request.account, known, request.nonce, request.scope)

    hostile.plan = plan
    reached = int(await cell.admits("access", typed.address, b"?"))
    beyond = int(await cell.admits("access", silent.address, b"?"))
    return Finding(reached + beyond, 2, reached == 1, f"{beyond} of 1 that typed nothing")


async def destroy_halves(cell: BareCell) -> Finding:
    """Residue: it can have keyring drop every half, so that logins wait for a recovery; the mail is not lost."""
    people = [await cell.add_person()]
    control = all([await cell.admits("access", person) for person in people])
    hostile = HostileAuth(cell)
    await hostile.take_over()
    for person in people:
        drop = DropHalves(Stamp.fresh("auth"), person.account, MAIN_PASSWORD, 99)
        await answer(hostile.exchange, "keyring", drop)
    await cell.stop("auth")
    await cell.start("auth")
    reached = sum([not await cell.admits("access", person) for person in people])
    return Finding(reached, len(people), control, "recovery opens them again")


_TYPED = "passwords typed while it is compromised are exposed: the promise counts them (section 3)"

ACTS = (
    SemanticAct(
        "auth-grafts-half", "auth", (Column.STORED_MAIL,), "log in as a victim on what is right for mallory",
        "a session of the victim", "keyring compares no account at redemption", graft,
    ),
    SemanticAct(
        "auth-says-yes", "auth", (Column.STORED_MAIL,), "yes to a wrong password, keyring unasked or refusing",
        "a session", "keyring believes auth's yes", say_yes,
    ),
    SemanticAct(
        "auth-replays-nonce", "auth", (Column.STORED_MAIL,), "redeem a used, a foreign and a late nonce",
        "a second session", "a nonce is not used up", replay_nonce,
    ),
    SemanticAct(
        "auth-enumerates-accounts", "auth", (Column.ADDRESSES,), "ask keyring about ids that exist and that do not",
        "an id is told from a made-up one", "keyring says which accounts it has not", enumerate_accounts,
    ),
    SemanticAct(
        "auth-outlasts-limit", "auth", (Column.VERIFIERS,), "guess past keyring's limit and its restarts",
        "the right guess after the limit is confirmed", "keyring keeps no count of its own", outlast_the_limit,
    ),
    SemanticAct(
        "auth-sprays-accounts", "auth", (Column.VERIFIERS,), "one guess on each account, past keyring's ceiling",
        "a right guess beyond it is confirmed", "keyring counts no accounts", spray_accounts,
    ),
    SemanticAct(
        "auth-sets-half", "auth", (Column.VERIFIERS,), "set a password of its own without the account's token",
        "its half is accepted", "the account's own token", set_a_half,
    ),
    SemanticAct(
        "auth-impersonates-typed", "auth", (Column.TYPED_PASSWORDS,), "log in as one who typed, and one who did not",
        "a session", "the one who typed is admitted", impersonate_the_typed, 1, _TYPED,
    ),
    SemanticAct(
        "auth-drops-halves", "auth", (Column.AVAILABILITY,), "have keyring drop the halves of everyone",
        "a right password is refused afterwards", "the same logins before", destroy_halves, 1,
        "auth must be able to drop an old half; recovery opens each account again, and no mail is lost",
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
