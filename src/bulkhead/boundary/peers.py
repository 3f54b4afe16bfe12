"""PEERS: the one list of who may send what to whom. What is not here cannot be sent.

An edge is a socketpair between one process of `client` and one of `server`. Requests go from client to server;
facts may go either way and may be dropped. Requests form no cycle (a test), so no two compartments wait for each
other. A violation by a front compartment replaces the edge and restarts the sender when a vault compartment reports
it; a report by a front compartment replaces the edge and restarts the reporter: nothing a gate says ends a holder.
"""

from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.messages import (
    facts,
    to_auth,
    to_dialer,
    to_directory,
    to_keyring,
    to_ledger,
    to_queue,
    to_resolver,
    to_store,
)
from bulkhead.boundary.messages.fields import Fact, Request


@dataclass(frozen=True, slots=True)
class Peering:
    """One edge: what the client may ask and tell, and what the server may announce."""

    client: str
    server: str
    requests: tuple[type[Request[Any]], ...]
    facts: tuple[type[Fact], ...] = ()
    announces: tuple[type[Fact], ...] = ()
    descriptors: bool = False  # the server hands over sockets with its replies


_LOOK_UP_AND_APPEND = (to_store.CheckRoom, to_store.DeliverMail)
_BY_HANDLE = (
    to_store.ListMailboxes, to_store.ShowMailbox, to_store.CreateMailbox, to_store.RenameMailboxes,
    to_store.DeleteMailbox, to_store.ListKeywords, to_store.AddKeyword, to_store.ListSubscriptions,
    to_store.SetSubscription, to_store.ReadColumns, to_store.ReadChanges, to_store.ReadRows, to_store.ReadPart,
    to_store.ReadParts, to_store.ReadPages, to_store.PlanFiling, to_store.FileMessages, to_store.StoreFlags,
    to_store.Expunge, to_store.CopyMessages, to_store.AppendMessage, to_store.ReadQuota, to_store.Unwatch,
)  # fmt: skip

PEERS: tuple[Peering, ...] = (
    Peering("mx", "directory", (to_directory.ResolveRecipient,)),
    Peering("mx", "store", _LOOK_UP_AND_APPEND),
    Peering(
        "submit", "directory", (to_directory.ResolveRecipient, to_directory.FindLogin, to_directory.CheckSender)
    ),
    Peering("submit", "auth", (to_auth.Authenticate,)),
    Peering("submit", "keyring", (to_keyring.RedeemLogin, to_keyring.EndSession), announces=(facts.SessionEnded,)),
    Peering("submit", "store", _LOOK_UP_AND_APPEND),
    Peering("submit", "queue", (to_queue.Enqueue,)),
    Peering("access", "directory", (to_directory.FindLogin,)),
    Peering("access", "auth", (to_auth.Authenticate,)),
    Peering(
        "access", "keyring",
        (to_keyring.RedeemLogin, to_keyring.EndSession, to_keyring.OpenArrived, to_keyring.OpenSlots,
         to_keyring.OpenPages),
        announces=(facts.SessionEnded,),
    ),
    Peering("access", "store", _BY_HANDLE, announces=(facts.MailboxChanged,)),
    Peering("courier", "directory", (to_directory.ResolveRecipient,)),
    Peering("courier", "store", _LOOK_UP_AND_APPEND),
    Peering("courier", "queue", (to_queue.TakeWork, to_queue.ReadQueued, to_queue.ReportAttempt),
            announces=(facts.WorkDue,)),
    Peering("courier", "keyring", (to_keyring.OpenQueued,)),
    Peering("courier", "resolver", (to_resolver.FindMailHosts,)),
    Peering("courier", "dialer", (to_dialer.DialTcp,), descriptors=True),
    Peering("resolver", "dialer", (to_dialer.DialTcp, to_dialer.DialUdp), descriptors=True),
    Peering("auth", "keyring", (to_keyring.CheckHalf, to_keyring.AddHalf, to_keyring.DropHalves)),
    Peering("auth", "ledger", (to_ledger.AppendEvents,)),
    Peering("keyring", "store", (to_store.GrantSessions, to_store.RevokeSessions)),
    Peering("keyring", "ledger", (to_ledger.AppendEvents,)),
    Peering("directory", "ledger", (to_ledger.AppendEvents,)),
    Peering(
        "cli", "directory",
        (to_directory.AddDomain, to_directory.ListDomains, to_directory.AddAccount, to_directory.ListAccounts,
         to_directory.ShowAccount, to_directory.SetAccountStatus, to_directory.CountAccounts,
         to_directory.CheckDirectory),
    ),
    Peering(
        "cli", "auth",
        (to_auth.SetPassword, to_auth.StopTenantLogins, to_auth.LiftTenantStop, to_auth.SetLoginState,
         to_auth.CountCredentials, to_auth.CheckAuth),
    ),
    Peering(
        "cli", "keyring",
        (to_keyring.CreateMailboxKeys, to_keyring.BeginRecovery, to_keyring.GrantRecovery,
         to_keyring.StopTenantSessions, to_keyring.LiftSessionStop, to_keyring.SetHalfState,
         to_keyring.CountKeyring, to_keyring.CheckKeyring, to_keyring.ListSessions),
    ),
    Peering(
        "cli", "store",
        (to_store.OpenAccount, to_store.DestroyAccount, to_store.CountStore, to_store.CheckStore),
    ),
    Peering("cli", "queue", (to_queue.ListQueue, to_queue.RetryNow, to_queue.CountQueue, to_queue.CheckQueue)),
    Peering(
        "cli", "ledger",
        (to_ledger.ReadCheckpoint, to_ledger.ReadEntries, to_ledger.ProveInclusion, to_ledger.ProveConsistency,
         to_ledger.CheckLedger),
    ),
)  # fmt: skip

_BETWEEN = {(peering.client, peering.server): peering for peering in PEERS}


def between(one: str, other: str) -> Peering | None:
    """The edge between two compartments, whichever of them is the client, or None."""
    return _BETWEEN.get((one, other)) or _BETWEEN.get((other, one))
