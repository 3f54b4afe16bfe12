"""What a compartment has because of its duty: measured where its twin can, else counted by its charter.

A holder's twin runs in the holder's own directory under its lock, so it can show what stands there in clear and what it
could destroy. What a compartment has only while it works (passwords that pass, keys that it opens) no twin beside the
honest one can show: those rows count all of it, and the matrix says that they are by charter.
"""

from collections.abc import Callable, Mapping
from functools import partial

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.drill import acts_reach
from bulkhead.drill.range import Range
from bulkhead.drill.semantic import Column, Count, Reached, SemanticProbe

HOLDERS = tuple(process.name for process in PROCESSES.values() if process.disk is Disk.DATA)
_DESTROYED = {"store": Column.MAIL_DESTROYED, "keyring": Column.MAIL_DESTROYED, "queue": Column.MAIL_DESTROYED}


def own_disk(compartment: str, range_: Range) -> Reached:
    """Addresses and text of messages that stand in clear in the compartment's own directory."""
    canaries = _tokens(range_)
    tokens = sorted({token for names in canaries.values() for token in names.values()})
    found = range_.twin(compartment).ask("reach.find_tokens", tokens=tokens)
    hits = set((found.get("found") or {}).get("tokens", []))
    counts = {}
    for column, names in canaries.items():
        reached = frozenset(name for name, token in names.items() if token in hits)
        counts[column] = Count(reached, frozenset(n for n in names if range_.owner(n) == range_.home) | reached)
    files = (found.get("found") or {}).get("files", 0)
    control = "" if _finds_outside(range_) else "the same search finds no address in an open directory"
    note = f"{len(hits)} of {len(tokens)} canaries in clear in {files} files of its own"
    return Reached(counts, control, note)


def _tokens(range_: Range) -> Mapping[Column, Mapping[str, str]]:
    """Canary name to what to look for, hex, by column."""

    def hex_of(text: str) -> str:
        return text.encode().hex()

    return {
        Column.ADDRESSES: {address: hex_of(address.partition("@")[0]) for address in range_.addresses(range_.home)},
        Column.STORED_MAIL: {letter.name: hex_of(letter.token) for letter in range_.letters()},
        Column.MAIL_IN_TRANSIT: {x.name: hex_of(x.token) for tenant in range_.tenants for x in range_.queued[tenant]},
        Column.TYPED_PASSWORDS: {account.address: hex_of(account.password) for account in range_.accounts()},
    }


def _finds_outside(range_: Range) -> bool:
    """The control: the same search, unlocked, in a directory that holds one of the canaries."""
    folder = range_.scratch()
    token = range_.letters(range_.home)[0].token.encode()
    (folder / "canary").write_bytes(b"x" * 5000 + token)
    return bool(acts_reach.search_tokens(folder, [token.hex()])["tokens"])


def own_disk_writable(compartment: str, range_: Range) -> Reached:
    """Whether the compartment could destroy what it keeps: its own files open for writing."""
    answer = range_.twin(compartment).ask("reach.open_own_files").get("found") or {}
    writable = int(answer.get("writable", 0))
    home = range_.home
    everything = frozenset(letter.name for letter in range_.letters(home))
    waiting = frozenset(letter.name for letter in range_.queued[home])
    counts: dict[Column, Count] = {}
    if compartment in _DESTROYED:
        of = everything | waiting
        mine = waiting if compartment == "queue" else everything
        counts[Column.MAIL_DESTROYED] = Count(mine if writable else frozenset(), of)
    one = frozenset({f"{home}/{compartment}"})
    counts[Column.AVAILABILITY] = Count(one if writable else frozenset(), _parts(home))
    note = f"{writable} of {answer.get('files', 0)} own files open for writing; nothing was written"
    return Reached(counts, note=note)


def _parts(home: str) -> frozenset[str]:
    return frozenset(f"{home}/{name}" for name in PROCESSES)


def _typed(range_: Range) -> Reached:
    accounts = range_.addresses(range_.home) & frozenset(a.address for a in range_.accounts(range_.home))
    return Reached.one(Column.TYPED_PASSWORDS, reached=accounts, of=accounts, note="whoever logs in meanwhile")


def _changed(range_: Range) -> Reached:
    here = frozenset(letter.name for account in range_.sessions for letter in account.letters)
    everything = frozenset(letter.name for letter in range_.letters(range_.home))
    counts = {column: Count(here, everything) for column in (Column.MAIL_ALTERED, Column.MAIL_DESTROYED)}
    return Reached(counts, note="flags, moves and deletions under the live sessions of that worker")


def _keys(range_: Range) -> Reached:
    everybody = [account.address for account in range_.accounts(range_.home)]
    return Reached.one(Column.KEYS, reached=everybody, of=everybody, note="the keys of whoever logs in meanwhile")


def _passing(range_: Range) -> Reached:
    """Mail that passes through while it is compromised, in clear: to be read and to be altered."""
    names = frozenset(letter.name for letter in range_.queued[range_.home])
    counts = {column: Count(names, names) for column in (Column.MAIL_IN_TRANSIT, Column.MAIL_ALTERED)}
    return Reached(counts, note="each message that passes through meanwhile")


def _withheld(column: Column, range_: Range) -> Reached:
    names = frozenset(letter.name for letter in range_.queued[range_.home])
    return Reached.one(column, reached=names, of=names, note="outbound mail, misled or withheld meanwhile")


def _rolled_back(range_: Range) -> Reached:
    names = frozenset(letter.name for letter in range_.letters(range_.home))
    return Reached.one(Column.MAIL_ALTERED, reached=names, of=names, note="a mailbox shown as it was, flags and dates")


def _stands_still(compartment: str, range_: Range) -> Reached:
    one = f"{range_.home}/{compartment}"
    return Reached.one(Column.AVAILABILITY, reached={one}, of=_parts(range_.home), note="it can do nothing, or say no")


def _charter(
    name: str, compartment: str, columns: tuple[Column, ...], means: str, run: Callable[[Range], Reached],
    *, by_mode: bool = False,
) -> SemanticProbe:  # fmt: skip
    return SemanticProbe(
        name, compartment, columns, attempts="nothing: counted", success_means=means,
        control="none: its charter says so", run=run, by_mode=by_mode, by_charter=True,
    )  # fmt: skip


_TRANSIT = (Column.MAIL_IN_TRANSIT, Column.MAIL_ALTERED)

PROBES = (
    *(
        SemanticProbe(
            f"{name}-own-disk", name,
            (Column.ADDRESSES, Column.STORED_MAIL, Column.MAIL_IN_TRANSIT, Column.TYPED_PASSWORDS),
            attempts="search every file of its own directory for addresses, text of mail and passwords",
            success_means="what it keeps stands in clear there",
            control="the same search finds a canary in an open directory", run=partial(own_disk, name),
        )
        for name in HOLDERS
    ),
    *(
        SemanticProbe(
            f"{name}-destroys-its-own", name,
            (Column.AVAILABILITY, *((_DESTROYED[name],) if name in _DESTROYED else ())),
            attempts="open its own files for writing",
            success_means="what it keeps can be destroyed or rolled back, and comes from backup",
            control="none needed: a holder writes its own directory", run=partial(own_disk_writable, name),
        )
        for name in HOLDERS
    ),
    *(
        _charter(
            f"{name}-stands-still", name, (Column.AVAILABILITY,), "its service stops", partial(_stands_still, name)
        )
        for name in PROCESSES if name not in HOLDERS
    ),
    _charter("auth-sees-passwords", "auth", (Column.TYPED_PASSWORDS,), "every password typed meanwhile", _typed),
    _charter(
        "access-changes-mail", "access", (Column.MAIL_ALTERED, Column.MAIL_DESTROYED),
        "mail of its live sessions is deleted, moved or flagged", _changed, by_mode=True,
    ),
    _charter("keyring-opens-keys", "keyring", (Column.KEYS,), "the keys of who logs in meanwhile", _keys),
    _charter("mx-sees-mail", "mx", _TRANSIT, "mail through that worker, read or forged", _passing),
    _charter("submit-sees-mail", "submit", _TRANSIT, "mail through that worker, read or forged", _passing),
    _charter("courier-sees-mail", "courier", _TRANSIT, "outbound mail, read or forged", _passing),
    _charter(
        "courier-loses-mail", "courier", (Column.MAIL_DESTROYED,), "outbound mail is dropped",
        partial(_withheld, Column.MAIL_DESTROYED),
    ),
    _charter(
        "resolver-misleads", "resolver", (Column.MAIL_IN_TRANSIT,), "outbound mail goes where the attacker says",
        partial(_withheld, Column.MAIL_IN_TRANSIT),
    ),
    _charter(
        "dialer-misleads", "dialer", _TRANSIT, "outbound mail goes where the attacker says, or past him", _passing
    ),
    _charter("store-shows-old-states", "store", (Column.MAIL_ALTERED,), "old states and flags are shown", _rolled_back),
)  # fmt: skip
