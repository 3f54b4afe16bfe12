"""What those who ask can ask for: sessions and handles that are not theirs, names, passwords, verifiers.

A row for every compartment whose edges allow the request, so that a new edge in PEERS brings its rows with it.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.client import TwinClient
from bulkhead.drill.range import Account, Range
from bulkhead.drill.semantic import Column, Count, Reached, SemanticProbe

SUCCEEDED = "succeeded"
_SCOPES = {"access": Scope.IMAP, "submit": Scope.SUBMIT}
HANDLES = 256  # guessed
REDEMPTIONS = 32  # guessed
COMMON_PASSWORDS = ("password", "123456", "kddi2026")
PATTERNS = ("", "%", "*", "_", "' OR 1=1 --", "@", "admin", "root", "test")


def _may(*requests: str) -> list[str]:
    """The compartments whose edges allow all these requests."""
    allowed = {name: {r for p in PEERS if p.client == name for r in p.requests} for name in PROCESSES}
    return [name for name, can in allowed.items() if set(requests) <= can]


def _log_in(twin: TwinClient, account: Account, gate: str = "access") -> dict[str, str]:
    return twin.ask("edges.log_in", address=account.address, password=account.password, scope=_SCOPES[gate])


def _names(accounts: Iterable[Account]) -> frozenset[str]:
    return frozenset(letter.name for account in accounts for letter in account.letters)


def live_sessions(range_: Range) -> Reached:
    """What a worker of `access` has by its duty: the passwords typed there, and the mail of its live sessions."""
    everybody = range_.accounts(range_.home)
    typed: set[str] = set()
    opened: set[str] = set()
    failed = ""
    with range_.fresh_twin("access") as twin:
        for account in range_.sessions:
            session = _log_in(twin, account)
            if session["answer"] != SUCCEEDED:
                failed = f"{account.address}: {session['answer']}"
                continue
            typed.add(account.address)
            mail = twin.ask("edges.open_mail", handle=session["handle"], account=session["account"])
            names = [letter.name for letter in account.letters]
            opened |= set(names[: int(mail.get("opened", 0))])
    of = frozenset(account.address for account in everybody)
    counts = {
        Column.TYPED_PASSWORDS: Count(frozenset(typed), of),
        Column.STORED_MAIL: Count(frozenset(opened), _names(everybody)),
        Column.KEYS: Count(frozenset(typed), of),
    }
    return Reached(counts, failed, f"{len(typed)} live sessions in this worker open {len(opened)} messages")


def sending_sessions(range_: Range) -> Reached:
    """What a worker of `submit` has by its duty: the passwords typed there, and sessions that may send."""
    typed: set[str] = set()
    failed = ""
    with range_.fresh_twin("submit") as twin:
        for account in range_.sessions:
            session = _log_in(twin, account, "submit")
            if session["answer"] == SUCCEEDED:
                typed.add(account.address)
            else:
                failed = f"{account.address}: {session['answer']}"
    of = frozenset(account.address for account in range_.accounts(range_.home))
    counts = {column: Count(frozenset(typed), of) for column in (Column.TYPED_PASSWORDS, Column.KEYS)}
    return Reached(counts, failed, f"{len(typed)} live sessions in this worker, for sending")


def strangers_mail(range_: Range) -> Reached:
    """A session of another worker: its handle stolen, its message named under an own handle, handles guessed."""
    stranger, everybody = range_.stranger, range_.accounts(range_.home)
    read, lost = frozenset[str](), frozenset[str]()
    with range_.fresh_twin("access") as honest, range_.fresh_twin("access") as twin:
        theirs, mine = _log_in(honest, stranger), _log_in(twin, range_.accounts(range_.home)[0])
        if theirs["answer"] != SUCCEEDED or mine["answer"] != SUCCEEDED:
            return _strangers(range_, read, lost, f"no session: {theirs['answer']}, {mine['answer']}", "not tried")
        before = honest.ask("edges.open_mail", handle=theirs["handle"], account=theirs["account"])
        example = before.get("example")
        if example is None:
            return _strangers(range_, read, lost, "its own worker opens nothing", "not tried")
        tally: Counter[str] = Counter()
        for handle in (theirs["handle"], mine["handle"]):
            tried = twin.ask("edges.reach_mail", handle=handle, **example).get("tried", {})
            tally.update(act for act, code in tried.items() if code == SUCCEEDED)
        stolen = twin.ask("edges.use_handle", handle=theirs["handle"]).get("tried", {})
        used = sum(code == SUCCEEDED for code in stolen.values())
        served = int(twin.ask("edges.random_handles", count=HANDLES).get("served", 0))
        if tally["read header"] or tally["open key"] or used:
            read = _names([stranger])
        elif served:
            read = _names(everybody)
    lost = _names([stranger]) - range_.intact(stranger)
    note = (
        f"stolen handle: {used} of {len(stolen)} acts; message by name: {dict(tally) or 'refused'}; guessed: {served}"
    )
    return _strangers(range_, read, lost, "", note)


def _strangers(range_: Range, read: frozenset[str], lost: frozenset[str], control: str, note: str) -> Reached:
    of = _names(range_.accounts(range_.home))
    counts = {Column.STORED_MAIL: Count(read, of), Column.MAIL_DESTROYED: Count(lost, of)}
    return Reached(counts, control, note)


def enumerate_logins(compartment: str, range_: Range) -> Reached:
    """Which login names directory lists, or answers otherwise than the made-up ones."""
    known = sorted(range_.addresses(range_.home))
    active = [account.address for account in range_.accounts(range_.home)]
    made_up = [address.replace("@", ".x@") for address in active]
    twin = range_.twin(compartment)
    answer = twin.ask("edges.enumerate_logins", guesses=[*PATTERNS[5:], *active, *made_up])
    haul = bytes.fromhex(answer.get("haul", ""))
    listed = {address for address in known if address.partition("@")[0].encode() in haul}
    apart = int(answer.get("told_apart", 0))
    reached = listed | (set(active) if apart else set())
    control = "" if answer.get("asked") else f"no answer: {answer['answer']}"
    note = f"{len(listed)} listed, {apart} of {answer.get('asked', 0)} told apart from made-up names"
    return Reached.one(Column.ADDRESSES, reached=reached, of=known, control=control, note=note)


def guess_recipients(compartment: str, range_: Range) -> Reached:
    """Addresses that directory gives away to who does not know them; who names one learns of it, as by RCPT."""
    active = [account.address for account in range_.accounts(range_.home)]
    made_up = [address.replace("@", ".x@") for address in active]
    twin = range_.twin(compartment)
    told = int(twin.ask("edges.guess_recipients", guesses=[*PATTERNS, *made_up]).get("confirmed", 0))
    by_name = int(twin.ask("edges.guess_recipients", guesses=active).get("confirmed", 0))
    control = "" if by_name == len(active) else f"{by_name} of {len(active)} known ones are confirmed"
    note = (
        f"by pattern {told} of {len(PATTERNS) + len(made_up)}; by name {by_name} of {len(active)}, as RCPT tells anyone"
    )
    reached = active[:told]
    return Reached.one(Column.ADDRESSES, reached=reached, of=range_.addresses(range_.home), control=control, note=note)


def guess_passwords(compartment: str, range_: Range) -> Reached:
    """Common passwords tried on every subscriber, past the gate's own limits."""
    active = range_.accounts(range_.home)
    addresses = [account.address for account in active]
    twin, scope = range_.twin(compartment), _SCOPES[compartment]
    answer = twin.ask("edges.guess_passwords", addresses=addresses, passwords=list(COMMON_PASSWORDS), scope=scope)
    right = twin.ask("edges.guess_passwords", addresses=addresses[:1], passwords=[active[0].password], scope=scope)
    accepted = int(answer.get("accepted", 0))
    control = "" if right.get("accepted") == 1 else "the right password was not accepted either"
    note = f"{accepted} of {answer.get('tried')} guesses accepted"
    return Reached.one(Column.VERIFIERS, reached=addresses[:accepted], of=addresses, control=control, note=note)


def redeem_logins(compartment: str, range_: Range) -> Reached:
    """Logins that nobody made, redeemed at keyring."""
    addresses = [account.address for account in range_.accounts(range_.home)]
    twin = range_.twin(compartment)
    sessions = int(twin.ask("edges.redeem_guesses", count=REDEMPTIONS).get("sessions", 0))
    made = _log_in(twin, range_.accounts(range_.home)[0], compartment)["answer"]
    control = "" if made == SUCCEEDED else f"a login that was made is not redeemed either: {made}"
    note = f"{sessions} of {REDEMPTIONS} redeemed"
    return Reached.one(Column.KEYS, reached=addresses[:sessions], of=addresses, control=control, note=note)


def check_halves(range_: Range) -> Reached:
    """As auth: tight tags and wrap keys guessed at keyring."""
    addresses = [account.address for account in range_.accounts(range_.home)]
    matched = int(range_.twin("auth").ask("edges.check_halves", count=REDEMPTIONS).get("matched", 0))
    with range_.imap(range_.accounts(range_.home)[0]):
        note = f"{matched} of {REDEMPTIONS} matched; an honest login beside it did"
    return Reached.one(Column.VERIFIERS, reached=addresses[:matched], of=addresses, note=note)


PROBES = (
    SemanticProbe(
        "access-live-worker", "access", (Column.TYPED_PASSWORDS, Column.STORED_MAIL, Column.KEYS),
        attempts="log in with the passwords that are typed there, and open all that these sessions may",
        success_means="passwords typed there, and the mail of its live sessions, are in the attacker's hands",
        control="none needed: it is the gate's duty", run=live_sessions, by_mode=True,
    ),
    SemanticProbe(
        "submit-live-worker", "submit", (Column.TYPED_PASSWORDS, Column.KEYS),
        attempts="log in with the passwords that are typed there",
        success_means="passwords typed there, and sessions that send, are in the attacker's hands",
        control="none needed: it is the gate's duty", run=sending_sessions, by_mode=True,
    ),
    SemanticProbe(
        "access-live-strangers", "access", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        attempts="a handle stolen from another worker, a stranger's message named under an own handle, guessed handles",
        success_means="reads or destroys mail of who never had a session in that worker",
        control="the stranger's own worker opens the same message", run=strangers_mail,
    ),
    *(
        SemanticProbe(
            f"{name}-lists-logins", name, (Column.ADDRESSES,),
            attempts="login names by pattern, known and made up ones, each twice",
            success_means="learns which addresses exist from answers to logins",
            control="directory answers", run=partial(enumerate_logins, name),
        )
        for name in _may("FindLogin")
    ),
    *(
        SemanticProbe(
            f"{name}-lists-recipients", name, (Column.ADDRESSES,),
            attempts="recipients by pattern and made up ones",
            success_means="learns addresses that it did not know",
            control="known addresses are confirmed, as RCPT TO tells anyone", run=partial(guess_recipients, name),
        )
        for name in _may("ResolveRecipient")
    ),
    *(
        SemanticProbe(
            f"{name}-guesses-passwords", name, (Column.VERIFIERS,),
            attempts="common passwords on every account, past the gate's own limits",
            success_means="finds passwords by asking", control="the right password is accepted",
            run=partial(guess_passwords, name),
        )
        for name in _may("FindLogin", "Authenticate")
    ),
    *(
        SemanticProbe(
            f"{name}-redeems-logins", name, (Column.KEYS,),
            attempts="redeem logins that nobody made", success_means="opens sessions without a password",
            control="a login that was made is redeemed", run=partial(redeem_logins, name),
        )
        for name in _may("RedeemLogin")
    ),
    SemanticProbe(
        "auth-guesses-halves", "auth", (Column.VERIFIERS,),
        attempts="random tight tags and wrap keys at keyring", success_means="tests passwords that nobody typed",
        control="an honest login beside it matches", run=check_halves,
    ),
)  # fmt: skip
