"""What is left of typed passwords in the memory of an honest gate, once those who typed them have logged out.

Whoever breaks into a worker would find more there than what is typed from then on: Python and OpenSSL copy what they
read. Gates overwrite each copy once the login is answered (wipe.py). Not all who log in here have a session besides, so
that passwords that are left are over the budget, whose ceiling is what the live sessions have.
"""

import base64
import contextlib
import imaplib
import poplib
from functools import partial

from bulkhead.drill.lone_holder import memory_of
from bulkhead.drill.range import CLIENT_SECONDS, Account, Range
from bulkhead.drill.semantic import Column, Count, Mode, Reached, SemanticProbe


def _log_in_and_out(range_: Range, compartment: str, account: Account) -> None:
    """In every way that a program has."""
    if compartment == "submit":
        with range_.submission(account):
            return
    with range_.imap(account):
        pass
    with contextlib.suppress(poplib.error_proto), range_.pop3(account):  # a live session may have the maildrop
        pass
    end = range_.endpoints[account.tenant]
    client = imaplib.IMAP4_SSL(end.address, end.imaps, ssl_context=range_.tls, timeout=CLIENT_SECONDS)
    with contextlib.closing(client.sock):
        client.authenticate("PLAIN", lambda _: f"\0{account.address}\0{account.password}".encode())
        client.logout()


def _forms(account: Account) -> tuple[bytes, bytes]:
    """The password as it is, and as SASL PLAIN brings it (RFC 4616)."""
    plain = f"\0{account.address}\0{account.password}".encode()
    return account.password.encode(), base64.b64encode(plain)


def residue(compartment: str, range_: Range) -> Reached:
    """Accounts whose password is in the memory of the gate's workers after their sessions have ended."""
    # A strict worker ends with its one session: no memory is left that saw the others.
    accounts = range_.accounts(range_.home) if range_.mode is Mode.DEFAULT else range_.sessions
    for account in accounts:
        _log_in_and_out(range_, compartment, account)
    pids = [row["pid"] for row in range_.processes(range_.home) if row["compartment"] == compartment]
    of = frozenset(account.address for account in range_.accounts(range_.home))
    try:
        dumps = [memory_of(pid) for pid in pids]
    except OSError as error:
        empty = {Column.TYPED_PASSWORDS: Count(frozenset(), of)}
        return Reached(empty, f"the memory of a locked process cannot be read: {error.strerror}")
    clear, coded = (
        {account.address for account in accounts if any(_forms(account)[form] in dump for dump in dumps)}
        for form in (0, 1)
    )
    control = "" if all(f"bulkhead.{compartment}".encode() in dump for dump in dumps) and dumps else "nothing is found"
    note = f"after logging out, of {len(accounts)}: {len(clear)} in clear, {len(coded)} in base64"
    return Reached.one(Column.TYPED_PASSWORDS, reached=clear | coded, of=of, control=control, note=note)


PROBES = tuple(
    SemanticProbe(
        f"{name}-memory-residue", name, (Column.TYPED_PASSWORDS,),
        attempts="search the memory of the honest workers for passwords of sessions that have ended",
        success_means="a break-in finds passwords that were typed before it", control="the name of its own modules",
        run=partial(residue, name), by_mode=True,
    )
    for name in ("access", "submit")
)  # fmt: skip
