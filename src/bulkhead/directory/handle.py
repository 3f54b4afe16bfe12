"""One function per message to directory."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Done, Mutation, Reply, Request
from bulkhead.boundary.messages.to_directory import (
    PAGE_MAX,
    STATUSES_MAX,
    AccountCounts,
    AccountPage,
    AccountRow,
    AddAccount,
    AddDomain,
    CheckDirectory,
    CheckSender,
    CountAccounts,
    DirectoryReport,
    DomainPage,
    FindLogin,
    ListAccounts,
    ListDomains,
    ListStatuses,
    LoginAccount,
    Recipient,
    RecipientVerdict,
    RenewBinding,
    ResolveRecipient,
    SetAccountStatus,
    ShowAccount,
    StatusPage,
)
from bulkhead.directory import listing, notices, routes, services
from bulkhead.directory.book import DirectoryBook, find_account, now_ms
from bulkhead.directory.card import card
from bulkhead.directory.check import check_directory
from bulkhead.directory.guesses import Guesses
from bulkhead.directory.provision import Provisioning
from bulkhead.directory.reach import Reach
from bulkhead.directory.reopening import reopening
from bulkhead.directory.transitions import Status
from bulkhead.directory.uploads import Uploads
from bulkhead.errors import PeerError, Refused
from bulkhead.holder import backup, staff_records
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.cases import OpenedCase
from bulkhead.holder.order_check import account_of
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.shared import shared
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId
from bulkhead.records.access import NOBODY
from bulkhead.records.order import Order

R = TypeVar("R", bound=Reply)
C = TypeVar("C", bound=Mutation[Any])


@dataclass(slots=True)
class Directory:
    """What the handlers work on."""

    book: DirectoryBook
    reach: Reach
    outbox: Outbox
    exchange: Exchange
    guesses: Guesses = field(default_factory=Guesses)
    accesses: Accesses = field(init=False)
    backups: backup.Backups = field(init=False)
    orders: Orders = field(init=False)
    provisioning: Provisioning = field(init=False)
    uploads: Uploads = field(init=False)


def resolve_recipient(
    directory: Directory, peer: Channel, request: ResolveRecipient, _: BodyReader | None
) -> Recipient:
    """Where mail goes."""
    directory.guesses.require(peer)
    found = directory.reach.resolve(request.address, request.reverse)
    if found.verdict == RecipientVerdict.NO_SUCH_ADDRESS:
        directory.guesses.count(peer)
    return found


def find_login(directory: Directory, _: Channel, request: FindLogin, __: BodyReader | None) -> LoginAccount:
    """Which account logs in; a decoy's id for a name that may not."""
    return LoginAccount(directory.book.find_login(request.login))


def check_sender(directory: Directory, peer: Channel, request: CheckSender, _: BodyReader | None) -> Done:
    """Whether an account owns an address."""
    directory.guesses.require(peer)
    try:
        directory.book.check_sender(request.account, request.address)
    except Refused:
        directory.guesses.count(peer)
        raise
    return Done()


async def renew_binding(directory: Directory, _: Channel, request: RenewBinding, __: BodyReader | None) -> Done:
    """Mail for an account is sealed to its newer mailbox key."""
    if not directory.book.is_newer(request.binding):
        return Done()
    return await _change(directory, request, directory.book.renew_binding)


async def add_domain(directory: Directory, _: Channel, request: AddDomain, __: BodyReader | None) -> Done:
    """Host a domain."""
    return await _change(directory, request, directory.book.add_domain)


async def remove_domain(directory: Directory, _: Channel, request: m.RemoveDomain, __: BodyReader | None) -> Done:
    """Host it no more."""
    return await _change(directory, request, directory.book.remove_domain)


def list_domains(directory: Directory, _: Channel, request: ListDomains, __: BodyReader | None) -> DomainPage:
    """One page of domains; a page may hold fewer than asked for, an empty one is the end."""
    return DomainPage(directory.book.domains(request.after, min(request.limit, PAGE_MAX)))


async def add_account(directory: Directory, _: Channel, request: AddAccount, __: BodyReader | None) -> Done:
    """Make an address reach a mailbox."""
    return await _change(directory, request, directory.book.add_account)


def list_accounts(directory: Directory, _: Channel, request: ListAccounts, __: BodyReader | None) -> AccountPage:
    """One page of accounts; a page may hold fewer than asked for, an empty one is the end."""
    return AccountPage(directory.book.accounts(request.domain, request.after, min(request.limit, PAGE_MAX)))


def show_account(directory: Directory, _: Channel, request: ShowAccount, __: BodyReader | None) -> AccountRow:
    """One account."""
    return directory.book.show(request.address)


async def set_account_status(
    directory: Directory, _: Channel, request: SetAccountStatus, __: BodyReader | None
) -> AccountRow:
    """Move an account along TRANSITIONS. What was purged is in no file once this is answered."""
    row = await _reopening_change(directory, request, directory.book.set_status)
    if row.status == Status.PURGED:
        await directory.book.database.truncate_wal()
    return row


def search_accounts(directory: Directory, _: Channel, request: m.SearchAccounts, __: BodyReader | None) -> AccountPage:
    """Accounts whose address begins so."""
    limit = min(request.limit, m.SEARCH_MAX)
    return AccountPage(directory.book.search(request.prefix, request.after, limit))


async def set_forward(directory: Directory, _: Channel, request: m.SetForward, __: BodyReader | None) -> Done:
    """Mail goes on to others once the ledger has it."""
    book = directory.book
    earlier = await book.database.answered(request)
    if earlier is not None:
        return earlier
    account, targets = routes.check_forward(book.database, directory.reach.elsewhere, request)
    details = routes.forward_details(book, request, targets)
    await witness(directory.exchange, request.stamp, "ForwardChanged", details, account.account)
    return await _change(directory, request, partial(routes.set_forward, book, targets=targets))


def list_groups(directory: Directory, _: Channel, request: m.ListGroups, __: BodyReader | None) -> m.GroupPage:
    """One page of groups."""
    return m.GroupPage(routes.groups(directory.book.database, request.after, min(request.limit, PAGE_MAX)))


def show_group(directory: Directory, _: Channel, request: m.ShowGroup, __: BodyReader | None) -> m.Members:
    """Who is in it."""
    return routes.members(directory.book.database, request.address)


def show_routes(directory: Directory, _: Channel, request: m.ShowRoutes, __: BodyReader | None) -> m.Routes:
    """Aliases, groups, forwards."""
    return routes.routes(directory.book.database, request.address)


async def show_card(directory: Directory, _: Channel, request: m.ShowCard, __: BodyReader | None) -> m.SupportCard:
    """What the support desk sees, once the ledger has it."""

    def made(case: OpenedCase) -> m.SupportCard:
        return card(directory.book.database, case, request.address)

    return await directory.orders.cases.look(request, request.case, made)


def list_classes(directory: Directory, _: Channel, __: m.ListClasses, ___: BodyReader | None) -> m.ClassList:
    """Every class of service."""
    return m.ClassList(services.classes(directory.book.database))


async def _change(directory: Directory, request: C, work: Callable[[sqlite3.Connection, C], R]) -> R:
    """What `work` gives for the request, once durable; the ledger hears of it."""

    def change(connection: sqlite3.Connection) -> R:
        return work(connection, request)

    reply: R = await directory.book.database.mutate(request, change)
    directory.outbox.wake()
    return reply


async def _reopening_change(directory: Directory, request: C, work: Callable[[sqlite3.Connection, C], R]) -> R:
    """As _change; what opens again that was closed is in the ledger before."""
    database = directory.book.database
    if await database.answered(request) is None and (opened := reopening(database, request)) is not None:
        await opened.announce(directory.exchange, request.stamp)
    return await _change(directory, request, work)


def _changing(
    work: Callable[[DirectoryBook, sqlite3.Connection, Any], Any], change: Callable[..., Awaitable[Any]] = _change
) -> Handler:
    """The handler of a change that one transaction makes."""

    async def handle(directory: Directory, _: Channel, request: Any, __: BodyReader | None) -> Any:
        return await change(directory, request, partial(work, directory.book))

    return handle


async def begin_provision(
    directory: Directory, _: Channel, request: m.BeginProvision, __: BodyReader | None
) -> m.ProvisionState:
    """A provisioning file is to come."""
    return await directory.provisioning.begin(request)


async def provision_chunk(
    directory: Directory, _: Channel, request: m.ProvisionChunk, __: BodyReader | None
) -> m.ProvisionState:
    """Its next lines."""
    return await directory.provisioning.chunk(request)


def show_provision(
    directory: Directory, _: Channel, request: m.ShowProvision, __: BodyReader | None
) -> m.ProvisionState:
    """How far it has come."""
    return directory.provisioning.show(request.root)


def list_refused_lines(
    directory: Directory, _: Channel, request: m.ListRefusedLines, __: BodyReader | None
) -> m.RefusedLines:
    """What was not done."""
    return directory.provisioning.refused(request.root, request.after)


async def upload_chunk(
    directory: Directory, _: Channel, request: m.UploadChunk, __: BodyReader | None
) -> m.UploadState:
    """A part of a file, to wait."""
    return await directory.uploads.upload(request)


def show_upload(directory: Directory, _: Channel, request: m.ShowUpload, __: BodyReader | None) -> m.UploadState:
    """How far it has come."""
    return directory.uploads.show(request.root)


def plan_chunk(directory: Directory, _: Channel, request: m.PlanChunk, __: BodyReader | None) -> m.ChunkPlan:
    """What comes before its next chunk."""
    return directory.uploads.plan(request.root)


async def carry_out_chunk(
    directory: Directory, _: Channel, request: m.CarryOutChunk, __: BodyReader | None
) -> m.UploadState:
    """Its next chunk."""
    return await directory.uploads.carry_out(request)


def take_notices(directory: Directory, _: Channel, request: m.TakeNotices, __: BodyReader | None) -> m.NoticePage:
    """What subscribers are to be told."""
    return m.NoticePage(notices.take(directory.book.database, request.limit, now_ms(), request.after))


async def drop_notice(directory: Directory, _: Channel, request: m.DropNotice, __: BodyReader | None) -> Done:
    """It was told."""

    def work(connection: sqlite3.Connection) -> Done:
        notices.drop(connection, request.number, now_ms())
        return Done()

    return await directory.book.database.mutate(request, work)


def list_bindings(directory: Directory, _: Channel, request: m.ListBindings, __: BodyReader | None) -> m.BindingPage:
    """One page of addresses, or of groups."""
    page = listing.groups if request.groups else listing.addresses
    return m.BindingPage(page(directory.book.database, request.after))


async def note_bindings(directory: Directory, _: Channel, request: m.NoteBindings, __: BodyReader | None) -> Done:
    """In the ledger, or the list does not leave."""
    details: dict[str, str | int | bool | None] = {"sha256": request.digest.hex(), "rows": request.rows}
    await witness(directory.exchange, request.stamp, "BindingsListed", details)
    return Done()


def count_accounts(directory: Directory, _: Channel, __: CountAccounts, ___: BodyReader | None) -> AccountCounts:
    """Accounts by status."""
    return directory.book.counts()


def list_statuses(directory: Directory, _: Channel, request: ListStatuses, __: BodyReader | None) -> StatusPage:
    """Ids and statuses."""
    return directory.book.statuses(request.after, max(1, min(request.limit, STATUSES_MAX)))


async def check(directory: Directory, _: Channel, __: CheckDirectory, ___: BodyReader | None) -> DirectoryReport:
    """Check the database, in a thread, so that look-ups go on."""
    return await asyncio.to_thread(check_directory, directory.book.database.path)


def check_order(directory: Directory, order: Order) -> None:
    """Passes an order whose address is that account's. Raises Refused (`other-account`, `no-such-address`).

    Nobody else knows both: an order that showed its officers one person's address with another's account stops here.
    """
    address = order.parameters.get("address")
    if address is not None and directory.book.show(str(address)).account != account_of(order):
        raise Refused("that address is of another account than the order's", code="other-account")


def is_first_status(directory: Directory, request: Request[Any]) -> bool:
    """Whether it is the end of making an account, which needs no order of its own."""
    if not isinstance(request, SetAccountStatus) or request.status != Status.ACTIVE:
        return False
    return directory.book.show(request.address).status == Status.PROVISIONED


def account_of_request(directory: Directory, request: Any) -> AccountId:
    """Whom a request is about, by id or by any address; NOBODY where no account has it."""
    named = staff_records.account_of_request(request)
    address = getattr(request, "address", "") or getattr(request, "alias", "")
    if named != NOBODY or not isinstance(address, str) or not address:
        return named
    try:
        return AccountId(find_account(directory.book.database, address)[0].account)
    except (Refused, PeerError):
        return NOBODY


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    ResolveRecipient: resolve_recipient,
    FindLogin: find_login,
    CheckSender: check_sender,
    RenewBinding: renew_binding,
    AddDomain: add_domain,
    ListDomains: list_domains,
    AddAccount: add_account,
    ListAccounts: list_accounts,
    ShowAccount: show_account,
    SetAccountStatus: set_account_status,
    CountAccounts: count_accounts,
    CheckDirectory: check,
    ListStatuses: list_statuses,
    m.AddAlias: _changing(routes.add_alias),
    m.RemoveAlias: _changing(routes.remove_alias),
    m.SetForward: set_forward,
    m.SetServices: _changing(services.set_services, _reopening_change),
    m.SetQuota: _changing(services.set_quota),
    m.DefineClass: _changing(services.define_class),
    m.ListClasses: list_classes,
    m.SetClass: _changing(services.set_class, _reopening_change),
    m.AddGroup: _changing(routes.add_group),
    m.SetMember: _changing(routes.set_member),
    m.RemoveGroup: _changing(routes.remove_group),
    m.ListGroups: list_groups,
    m.ShowGroup: show_group,
    m.ShowRoutes: show_routes,
    m.SearchAccounts: search_accounts,
    m.BeginProvision: begin_provision,
    m.ProvisionChunk: provision_chunk,
    m.ShowProvision: show_provision,
    m.ListRefusedLines: list_refused_lines,
    m.UploadChunk: upload_chunk,
    m.ShowUpload: show_upload,
    m.PlanChunk: plan_chunk,
    m.CarryOutChunk: carry_out_chunk,
    m.ListBindings: list_bindings,
    m.TakeNotices: take_notices,
    m.DropNotice: drop_notice,
    m.RemoveDomain: remove_domain,
    m.NoteBindings: note_bindings,
    m.ShowCard: show_card,
    **shared(m),
}
