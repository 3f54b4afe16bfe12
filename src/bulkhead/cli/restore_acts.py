"""What the ledger says was done since is done again in directory, auth and keyring: by a restore, by a promotion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.auth.restore import AuthRestore, Since, dead_of
from bulkhead.directory.restore import DirectoryRestore
from bulkhead.directory.transitions import Status
from bulkhead.errors import IntegrityError
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.stop import OUTBOUND_TABLE, OWN
from bulkhead.identifiers import AccountId
from bulkhead.keyring.restore import KeyringRestore
from bulkhead.ledger.acts import Acts, Stop
from bulkhead.ledger.event import SubjectId, subject_id
from bulkhead.supervisor.layout import Layout

LOGIN = 1  # of the services
_STATES = {
    Status.PROVISIONED: AccountState.OPEN, Status.ACTIVE: AccountState.OPEN, Status.SUSPENDED: AccountState.SUSPENDED,
    Status.DORMANT: AccountState.SUSPENDED, Status.CANCELLED: AccountState.DESTROYED,
    Status.PURGED: AccountState.DESTROYED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """For store and queue: accounts that are destroyed, with their addresses; queue's stop, its epoch and whether."""

    accounts: list[AccountId]
    addresses: list[tuple[AccountId, str]]
    outbound: tuple[int, bool]


@dataclass(slots=True)
class Report:
    """What a restore did."""

    backup: str
    entries: int = 0  # of the ledger, replayed
    continued: int = 0  # of them, those that a newer ledger brought
    accounts: int = 0
    statuses: int = 0  # of accounts, changed since
    must_reset: int = 0  # accounts whose main password died
    app_passwords: int = 0  # that died
    halves_apart: int = 0  # credentials whose halves did not agree
    narrowed: int = 0  # services, forwards, aliases and group memberships that were closed since
    lost: int = 0  # accounts added since, which are not in the backup
    messages: int = 0
    queued: int = 0
    continuity: bool = False  # the mail follows
    seconds: float = 0.0

    def as_row(self) -> dict[str, Any]:
        """For --json and the ledger."""
        return {
            "backup": self.backup, "entries": self.entries, "continued": self.continued, "accounts": self.accounts,
            "statuses": self.statuses, "must_reset": self.must_reset, "app_passwords": self.app_passwords,
            "halves_apart": self.halves_apart, "narrowed": self.narrowed,
            "lost": self.lost, "messages": self.messages, "queued": self.queued,
            "continuity": self.continuity,
        }  # fmt: skip


async def replay_acts(
    layout: Layout, files: Mapping[str, KeyFile], acts: Acts, subject_key: bytes, report: Report, *, check: bool = True
) -> Ended:
    """Do again what was done since, and count it; what store and queue have to. check: open every record first."""
    directory = DirectoryRestore(layout.home("directory"), files["directory"].keys)
    auth = AuthRestore(layout.home("auth"), files["auth"])
    keyring = KeyringRestore(layout.home("keyring"), files["keyring"])
    try:
        subjects, report.accounts = await _named(directory, acts, subject_key)
        report.lost = sum(subject not in subjects for subject in acts.added)
        if check:
            await auth.check()
            await keyring.check()
        since = _since(acts, subjects)
        dead: dict[AccountId, set[int]] = {}
        async for accounts in directory.accounts():
            halves = auth.halves(accounts)
            apart = keyring.lacking(halves)
            dead |= dead_of(since, halves)
            report.halves_apart += sum(map(len, apart.values()))
            for account, creds in apart.items():
                dead.setdefault(account, set()).update(creds)
        report.must_reset = sum(0 in creds for creds in dead.values())
        report.app_passwords = sum(len(creds - {0}) for creds in dead.values())
        stops = {OWN: _stop_of(acts, "keyring"), OUTBOUND_TABLE: _stop_of(acts, "keyring:outbound")}
        await keyring.replay(since.states, since.epochs, stops, acts.renewal)
        await keyring.forget(dead)
        await auth.replay(since)
        await auth.forget(dead)
        statuses = {subjects[subject]: status for subject, status in acts.status.items() if subject in subjects}
        destroyed = [account for account, asked in since.states.items() if AccountState.DESTROYED in asked]
        ended = Ended(destroyed, await directory.addresses(destroyed), _stop_of(acts, "queue:outbound"))
        report.narrowed = await narrow(directory, acts, subjects)
        report.statuses = await directory.replay(statuses)
    finally:
        await keyring.close()
        await auth.close()
        await directory.close()
    return ended


async def narrow(directory: DirectoryRestore, acts: Acts, subjects: Mapping[SubjectId, AccountId]) -> int:
    """Services, forwards and addresses, as far as the log tells."""
    closed = {subjects[subject]: bits for subject, bits in acts.closed.items() if subject in subjects}
    routes = {
        (None if subject is None else subjects[subject], digest): what
        for (subject, digest), what in acts.routes.items()
        if subject is None or subject in subjects
    }
    forwards = {subjects[subject]: digest for subject, digest in acts.forwards.items() if subject in subjects}
    return await directory.narrow(closed, forwards, routes)


async def _named(directory: DirectoryRestore, acts: Acts, subject_key: bytes) -> tuple[dict[SubjectId, AccountId], int]:
    """The accounts that the log says something of, by the names it has for them; and how many accounts there are."""
    found, count = dict[SubjectId, AccountId](), 0
    wanted = acts.added.union(acts.status, acts.changed, acts.revoked, acts.closed, acts.forwards)
    wanted |= {subject for subject, _ in acts.routes if subject is not None}
    async for accounts in directory.accounts():
        count += len(accounts)
        for account in accounts if wanted else ():
            subject = subject_id(subject_key, account)
            if subject in wanted:
                found[subject] = account
    return found, count


def _since(acts: Acts, subjects: Mapping[Any, AccountId]) -> Since:
    """The acts by account, as auth takes them."""
    try:
        states: dict[AccountId, tuple[int, ...]] = {
            subjects[s]: (_STATES[Status[name.upper()]],) for s, name in acts.status.items() if s in subjects
        }
    except KeyError as error:
        raise IntegrityError(f"the ledger names a status {error} that this version does not know") from None
    for subject, bits in acts.closed.items():
        if not bits & LOGIN or subject not in subjects:
            continue
        asked = states.get(subjects[subject], ())
        if AccountState.DESTROYED not in asked:
            states[subjects[subject]] = (*asked, AccountState.SWITCHED_OFF)  # both halves refuse, too
    changed = {subjects[subject]: creds for subject, creds in acts.changed.items() if subject in subjects}
    revoked = {subjects[subject]: creds for subject, creds in acts.revoked.items() if subject in subjects}
    return Since(states, changed, revoked, acts.epochs, _stop_of(acts, "auth"))


def _stop_of(acts: Acts, compartment: str) -> tuple[int, bool]:
    stop = acts.stops.get(compartment, Stop())
    return stop.epoch, stop.stopped
