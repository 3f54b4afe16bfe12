"""One function per call: a request of the API in, requests to holders, an answer out. CALLS is the table of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.messages.orders import ListOrdersBase, SignedApproval, SubmitOrderBase
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.to_incident import ListCanaries, ReadContract
from bulkhead.boundary.messages.to_ledger import ProveConsistency, ProveInclusion, ReadCheckpoint, ReadEntries
from bulkhead.boundary.staff import COLLECTOR, EXECUTORS, RECORDERS, STAFF_CALLS, VOUCHED
from bulkhead.boundary.support import CASE_HOLDERS
from bulkhead.console import answers as a
from bulkhead.console import cases, provisioning
from bulkhead.console.accesses import count_accesses, list_accesses
from bulkhead.console.allowances import (
    ClassBody,
    QuotaAnswer,
    QuotaBody,
    SetClassBody,
    account_answer,
    define_class,
    off_names,
    set_class,
    set_quota,
    show_quota,
)
from bulkhead.console.metrics import METRICS_NEEDS, read_metrics
from bulkhead.console.staffed import Staffed
from bulkhead.errors import Error, IntegrityError
from bulkhead.identifiers import parse_address
from bulkhead.records.canonical import base64_text, require_base64
from bulkhead.records.order import decode_order

SIZE_DIGITS = 18
_STANDINGS: Mapping[int, Literal["kept", "broken", "unmeasured"]] = {1: "kept", 2: "broken", 3: "unmeasured"}
Path = Mapping[str, str]
Work = Callable[[Staffed, Path, Any, Any], Awaitable[a.Value]]
Needs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One row of CALLS. needs: requests to holders that it makes, from which follows who may. change: of its holders.

    alone: a change that is no operation of a bulk call and cannot be rehearsed.
    """

    name: str
    method: str
    path: str
    sentence: str
    work: Work
    answer: type[a.Value]
    needs: Needs
    query: type[a.Value] = a.NoQuery
    body: type[a.Value] | None = None
    change: bool = False
    alone: bool = False
    collected: bool = False

    @property
    def bulk(self) -> bool:
        """Whether it may be an operation of a bulk call."""
        return self.change and not self.alone

    @property
    def roles(self) -> tuple[str, ...]:
        """Those that may make each of the requests; all of one holder's where there are alternatives."""
        groups = [STAFF_CALLS[need].roles if need in STAFF_CALLS else VOUCHED[need] for need in self.needs]
        common = tuple(role for role in groups[0] if all(role in group for group in groups))
        return tuple(role for role in common if role != COLLECTOR or self.collected)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names in braces of its path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


async def show_status(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.StatusAnswer:
    """Counts."""
    counts = await staff.ask("directory", d.CountAccounts())
    by_status = {a.STATUSES.get(row.status, "unknown"): row.accounts for row in counts.rows}
    return a.StatusAnswer(staff.tenant, by_status, counts.addresses, counts.domains)


async def list_domains(staff: Staffed, _: Path, query: a.PageQuery, __: None) -> a.DomainPage:
    """A page."""
    page, following = await staff.page("directory", d.ListDomains("", query.limit), query.after)
    return a.DomainPage([a.DomainItem(row.domain, row.accounts, row.created) for row in page.rows], following)


async def list_accounts(staff: Staffed, _: Path, query: a.AccountsQuery, __: None) -> a.AccountPage:
    """A page, masked."""
    page, following = await staff.page("directory", d.ListAccounts(query.domain, "", query.limit), query.after)
    return a.AccountPage([account_answer(row) for row in page.rows], following, staff.rows)


async def search_accounts(staff: Staffed, _: Path, query: a.SearchQuery, __: None) -> a.AccountPage:
    """By prefix."""
    request = d.SearchAccounts(query.prefix, "", query.limit)
    page, following = await staff.page("directory", request, query.after)
    return a.AccountPage([account_answer(row) for row in page.rows], following, staff.rows)


async def show_account(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> a.Account:
    """One."""
    return account_answer(await staff.ask("directory", d.ShowAccount(path["address"])))


async def show_routes(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> a.RoutesAnswer:
    """Aliases, groups, forwards."""
    found = await staff.ask("directory", d.ShowRoutes(path["address"]))
    return a.RoutesAnswer(
        list(found.aliases), list(found.retired), list(found.groups), list(found.forwards), found.keep
    )


async def add_alias(staff: Staffed, path: Path, _: a.Rehearsal, body: a.AliasBody) -> a.Done:
    """One more address."""
    await staff.ask("directory", d.AddAlias(staff.stamp(), path["address"], str(parse_address(body.alias))))
    return a.Done()


async def remove_alias(staff: Staffed, path: Path, _: a.Rehearsal, __: None) -> a.Done:
    """It stays reserved."""
    await staff.ask("directory", d.RemoveAlias(staff.stamp(), path["alias"]))
    return a.Done()


async def set_forward(staff: Staffed, path: Path, _: a.Rehearsal, body: a.ForwardBody) -> a.Done:
    """Within the tenant."""
    targets = tuple(str(parse_address(target)) for target in body.targets)
    await staff.ask("directory", d.SetForward(staff.stamp(), path["address"], targets, body.keep))
    return a.Done()


async def set_services(staff: Staffed, path: Path, _: a.Rehearsal, body: a.ServicesBody) -> a.Account:
    """Receiving and sending; the switch for logins stays as it is."""
    rehearse, staff.rehearse = staff.rehearse, False
    row = await staff.ask("directory", d.ShowAccount(path["address"]))
    staff.rehearse = rehearse
    closed = row.closed & a.SERVICE_BITS["login"]
    closed |= 0 if body.receive else a.SERVICE_BITS["receive"]
    closed |= 0 if body.send else a.SERVICE_BITS["send"]
    return account_answer(
        await staff.ask("directory", d.SetServices(staff.stamp(), path["address"], closed, body.reason))
    )


async def list_classes(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.ClassesAnswer:
    """All."""
    rows = (await staff.ask("directory", d.ListClasses())).rows
    return a.ClassesAnswer(
        [
            a.ClassItem(
                row.name, row.quota_bytes, off_names(row.closed), row.aliases, row.forwards, row.elsewhere, row.accounts
            )
            for row in rows
        ]
    )


async def list_groups(staff: Staffed, _: Path, query: a.PageQuery, __: None) -> a.GroupPage:
    """A page."""
    page, following = await staff.page("directory", d.ListGroups("", query.limit), query.after)
    return a.GroupPage([a.GroupItem(row.address, row.members, row.created) for row in page.rows], following)


async def show_group(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> a.MembersAnswer:
    """Who is in it."""
    return a.MembersAnswer(list((await staff.ask("directory", d.ShowGroup(path["group"]))).addresses))


async def add_group(staff: Staffed, _: Path, __: a.Rehearsal, body: a.GroupBody) -> a.Done:
    """Without members."""
    await staff.ask("directory", d.AddGroup(staff.stamp(), str(parse_address(body.address))))
    return a.Done()


async def remove_group(staff: Staffed, path: Path, _: a.Rehearsal, __: None) -> a.Done:
    """Its address is nobody's again."""
    await staff.ask("directory", d.RemoveGroup(staff.stamp(), path["group"]))
    return a.Done()


async def join_group(staff: Staffed, path: Path, _: a.Rehearsal, __: None) -> a.Done:
    """In."""
    await staff.ask("directory", d.SetMember(staff.stamp(), path["group"], path["address"], True))
    return a.Done()


async def leave_group(staff: Staffed, path: Path, _: a.Rehearsal, __: None) -> a.Done:
    """Out."""
    await staff.ask("directory", d.SetMember(staff.stamp(), path["group"], path["address"], False))
    return a.Done()


async def submit_order(staff: Staffed, _: Path, __: a.NoQuery, body: a.OrderBody) -> a.OrderAnswer:
    """To each that executes it; each verifies it itself."""
    statement = body.statement.encode()
    order = decode_order(statement)
    approvals = tuple(
        SignedApproval(
            one.officer, bytes.fromhex(one.key), require_base64(one.signature, "signature", 128) or b"\0",
            require_base64(one.client_data, "client_data"), require_base64(one.authenticator_data, "data", 256),
        )
        for one in body.approvals
    )  # fmt: skip

    async def submit(holder: str) -> a.OrderState:
        request: SubmitOrderBase = RECEIVERS[holder].SubmitOrder(staff.stamp(), statement, approvals)
        try:
            row = await staff.ask(holder, request)
        except Error as error:
            return a.OrderState(holder, error=error.public, code=error.code)
        return a.OrderState(holder, row.state, row.due, row.at, row.officers)

    rows = [await submit(holder) for holder in EXECUTORS if holder in order.executors]
    return a.OrderAnswer(order.action, order.serial.hex(), rows)


async def list_orders(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.OrdersAnswer:
    """Every executor's own list."""

    async def ask(holder: str) -> Any:
        request: ListOrdersBase = RECEIVERS[holder].ListOrders()
        try:
            return await staff.ask(holder, request)
        except Error:
            return None

    pages = dict(zip(EXECUTORS, await asyncio.gather(*map(ask, EXECUTORS)), strict=True))
    items = [
        a.OrderItem(
            holder, row.serial.hex(), row.action, row.hash.hex(), row.state, row.due, row.at, row.officers
        )
        for holder, page in pages.items() if page is not None
        for row in page.orders
    ]  # fmt: skip
    rosters = {holder: page.roster.version for holder, page in pages.items() if page is not None}
    return a.OrdersAnswer(rosters, items, [holder for holder, page in pages.items() if page is None])


async def read_checkpoint(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.CheckpointAnswer:
    """The newest."""
    found = await staff.ask("ledger", ReadCheckpoint())
    return a.CheckpointAnswer(found.text, found.cosigned)


async def read_entries(staff: Staffed, _: Path, query: a.EntriesQuery, __: None) -> a.EntriesAnswer:
    """A page, and what its reader checks it by; read before the checkpoint, so that it is under it."""
    page = await staff.ask("ledger", ReadEntries(query.first, query.limit))
    note = (await staff.ask("ledger", ReadCheckpoint())).text
    following = page.first + len(page.entries)
    proofs: list[list[str]] = [[], []]
    if page.entries:
        size = _size_of(note)
        for number, index in enumerate((page.first, following - 1)):
            proof = await staff.ask("ledger", ProveInclusion(index, size))
            proofs[number] = [one.hex() for one in proof.hashes]
    return a.EntriesAnswer(page.first, [base64_text(entry) for entry in page.entries], following, note, *proofs)


def _size_of(note: str) -> int:
    """Entries of a checkpoint, by its second line; whoever reads the answer verifies it. Raises IntegrityError."""
    line = note.partition("\n")[2].partition("\n")[0]
    if not line.isascii() or not line.isdigit() or len(line) > SIZE_DIGITS:
        raise IntegrityError("ledger gave no checkpoint")
    return int(line)


async def prove_inclusion(staff: Staffed, _: Path, query: a.InclusionQuery, __: None) -> a.ProofAnswer:
    """That an entry is in a tree."""
    proof = await staff.ask("ledger", ProveInclusion(query.index, query.size))
    return a.ProofAnswer([one.hex() for one in proof.hashes])


async def prove_consistency(staff: Staffed, _: Path, query: a.ConsistencyQuery, __: None) -> a.ProofAnswer:
    """That a tree grew out of another."""
    proof = await staff.ask("ledger", ProveConsistency(query.old, query.new))
    return a.ProofAnswer([one.hex() for one in proof.hashes])


async def read_contract(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.ContractAnswer:
    """In force, with its last measurement."""
    found = await staff.vouched("incident", ReadContract())
    terms = [
        a.TermItem(one.name, one.promised, one.measured, _STANDINGS[one.standing], one.entry, one.why, one.since)
        for one in found.terms
    ]
    return a.ContractAnswer(found.text, found.adopted, found.checked, terms)


async def list_canaries(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> a.CanariesAnswer:
    """Counts by copy."""
    found = await staff.vouched("incident", ListCanaries())
    return a.CanariesAnswer(
        [
            a.CanaryItem(one.copy, one.canaries, one.since, one.right, one.wrong, one.first, one.last)
            for one in found.copies
        ]
    )


def _of(holder: str, *messages: str) -> Needs:
    return tuple((holder, message) for message in messages)


_FILE = "/v1/provisioning/{root}"
_ACCOUNT, _GROUP, _CASE = "/v1/accounts/{address}", "/v1/groups/{group}", "/v1/support/cases/{case}"
_ROWS = (
    Call("showStatus", "GET", "/v1/status", "How many accounts of each status.", show_status, a.StatusAnswer,
         _of("directory", "CountAccounts")),
    Call("listDomains", "GET", "/v1/domains", "Hosted domains.", list_domains, a.DomainPage,
         _of("directory", "ListDomains"), query=a.PageQuery),
    Call("listAccounts", "GET", "/v1/accounts", "Accounts in order of address, masked for everybody: whole lists leave "
         "in an export alone, sealed to the partner's key.", list_accounts, a.AccountPage,
         _of("directory", "ListAccounts"), query=a.AccountsQuery),
    Call("searchAccounts", "GET", "/v1/account-search", "Accounts whose address begins so; masked for support.",
         search_accounts, a.AccountPage, _of("directory", "SearchAccounts"), query=a.SearchQuery),
    Call("showAccount", "GET", _ACCOUNT, "One account; masked for support.", show_account, a.Account,
         _of("directory", "ShowAccount")),
    Call("showRoutes", "GET", _ACCOUNT + "/routes", "Every way to an account and from it.", show_routes,
         a.RoutesAnswer, _of("directory", "ShowRoutes")),
    Call("addAlias", "POST", _ACCOUNT + "/aliases", "Give an account another address.", add_alias, a.Done,
         _of("directory", "AddAlias"), query=a.Rehearsal, body=a.AliasBody, change=True),
    Call("removeAlias", "DELETE", "/v1/aliases/{alias}", "The address reaches nobody from now on; it stays reserved.",
         remove_alias, a.Done, _of("directory", "RemoveAlias"), query=a.Rehearsal, change=True),
    Call("setForward", "PUT", _ACCOUNT + "/forward", "Where mail goes on to within the tenant; in the ledger first. "
         "Addresses at other servers are set on the command line or by a signed file.",
         set_forward, a.Done, _of("directory", "SetForward"), query=a.Rehearsal, body=a.ForwardBody, change=True),
    Call("setServices", "PUT", _ACCOUNT + "/services", "Switch receiving and sending. Logins are stopped and accounts "
         "suspended, activated and cancelled by signed orders.", set_services, a.Account,
         _of("directory", "SetServices", "ShowAccount"), query=a.Rehearsal, body=a.ServicesBody, change=True),
    Call("showQuota", "GET", _ACCOUNT + "/quota", "Quota and use of an account.", show_quota, QuotaAnswer,
         (*_of("directory", "ShowAccount"), *_of("store", "ReadUsage"))),
    Call("setQuota", "PUT", _ACCOUNT + "/quota", "How much an account may keep.", set_quota, a.Account,
         (*_of("directory", "SetQuota"), *_of("store", "LimitAccount")), query=a.Rehearsal, body=QuotaBody,
         change=True),
    Call("setClass", "PUT", _ACCOUNT + "/class", "Give an account a class of service: quota and switches follow, but "
         "for the switch for logins, which takes a signed order.", set_class, a.Account,
         (*_of("directory", "SetClass"), *_of("store", "LimitAccount")), query=a.Rehearsal, body=SetClassBody,
         change=True),
    Call("defineClass", "PUT", "/v1/classes/{class}", "Make a class of service, or change it; accounts follow when "
         "they are given it again.", define_class, a.Done, _of("directory", "DefineClass"), query=a.Rehearsal,
         body=ClassBody, change=True),
    Call("listClasses", "GET", "/v1/classes", "Classes of service.", list_classes, a.ClassesAnswer,
         _of("directory", "ListClasses")),
    Call("listGroups", "GET", "/v1/groups", "Groups in order of address.", list_groups, a.GroupPage,
         _of("directory", "ListGroups"), query=a.PageQuery),
    Call("addGroup", "POST", "/v1/groups", "Make a group without members.", add_group, a.Done,
         _of("directory", "AddGroup"), query=a.Rehearsal, body=a.GroupBody, change=True),
    Call("showGroup", "GET", _GROUP, "Who is in a group.", show_group, a.MembersAnswer, _of("directory", "ShowGroup")),
    Call("removeGroup", "DELETE", _GROUP, "The group is gone, and nobody has its address again.", remove_group,
         a.Done, _of("directory", "RemoveGroup"), query=a.Rehearsal, change=True),
    Call("joinGroup", "PUT", _GROUP + "/members/{address}", "Put an account into a group.", join_group, a.Done,
         _of("directory", "SetMember"), query=a.Rehearsal, change=True),
    Call("leaveGroup", "DELETE", _GROUP + "/members/{address}", "Take an account out of a group.", leave_group, a.Done,
         _of("directory", "SetMember"), query=a.Rehearsal, change=True),
    Call("listOrders", "GET", "/v1/orders", "What became of officers' orders, and which roster is in force.",
         list_orders, a.OrdersAnswer, tuple((name, "ListOrders") for name in EXECUTORS)),
    Call("submitOrder", "POST", "/v1/orders", "Carry a signed order to the holders that execute it, each of which "
         "verifies it; a withdrawal is an order, too.", submit_order, a.OrderAnswer,
         tuple((name, "SubmitOrder") for name in EXECUTORS), body=a.OrderBody),
    Call("beginProvisioning", "POST", "/v1/provisioning", "Begin a provisioning file, or go on with it, by its root "
         "and the digests of its chunks; an order `provision` comes first where the roster's policy asks for one.",
         provisioning.begin, provisioning.ProvisionAnswer, _of("directory", "BeginProvision", "ShowUpload"),
         body=provisioning.ProvisionBody),
    Call("uploadProvisioning", "PUT", _FILE + "/chunks/{chunk}", "Upload whole chunks, from this one on; they wait 24 "
         "hours to be carried out, 128 MiB of them at most.", provisioning.upload, provisioning.ProvisionAnswer,
         _of("directory", "UploadChunk", "ShowUpload"), body=provisioning.PartBody),
    Call("runProvisioning", "POST", _FILE + "/run", "Carry out what is uploaded, for some seconds; call it again until "
         "`chunk` is `chunks`.", provisioning.run, provisioning.ProvisionAnswer,
         (*_of("directory", "PlanChunk", "CarryOutChunk", "ShowUpload"), *_of("keyring", "CreateMailboxKeys"),
          *_of("store", "OpenAccount", "LimitAccount"))),
    Call("showProvisioning", "GET", _FILE, "How far a file has come, and which chunk is missing.", provisioning.show,
         provisioning.ProvisionAnswer, _of("directory", "ShowUpload")),
    Call("listRefusedLines", "GET", _FILE + "/refused", "Lines that were not carried out, with the word for why.",
         provisioning.list_refused, provisioning.RefusedPage, _of("directory", "ListRefusedLines"),
         query=provisioning.RefusedQuery),
    Call("supportTerms", "GET", "/v1/support/terms", "What an officer's statement names that opens a support case "
         "about this address.", cases.show_terms, cases.TermsAnswer, _of("directory", "ShowAccount", "ListCases"),
         query=cases.TermsQuery),
    Call("listCases", "GET", "/v1/support/cases", "Support cases of the last day, the newest first, 256 at most.",
         cases.list_cases, cases.CasesAnswer, _of("directory", "ListCases")),
    Call("openCase", "POST", "/v1/support/cases", "Open a support case by an officer's signed statement, which each "
         "of three holders verifies.", cases.open_case, cases.CaseAnswer,
         tuple((name, "OpenCase") for name in CASE_HOLDERS), body=cases.CaseBody, change=True, alone=True),
    Call("closeCase", "DELETE", _CASE, "Nothing more is shown or done in the case.", cases.close_case, a.Done,
         tuple((name, "CloseCase") for name in CASE_HOLDERS), change=True, alone=True),
    Call("lookInCase", "POST", _CASE + "/looks", "Show the masked card of the account that a case is about; each "
         "look is an entry of the ledger before it is answered.", cases.look, cases.CardAnswer,
         (*_of("directory", "ShowCard"), *_of("store", "ShowUsage"), *_of("auth", "ShowLoginCard")),
         body=cases.LookBody, change=True, alone=True),
    Call("actInCase", "POST", _CASE + "/acts", "Act in a case, with the code that the subscriber made; "
         "`request-recovery` takes none, changes nothing, and answers an order for officers to sign.", cases.act,
         cases.ActAnswer, (*_of("auth", "ActInCase"), *_of("directory", "ShowAccount", "ListCases")),
         body=cases.ActBody, change=True, alone=True),
    Call("listAccesses", "GET", "/v1/access-records", "Access records of one holder: who did what from where, "
         "by account id.", list_accesses, a.AccessesAnswer, tuple((name, "SearchAccesses") for name in RECORDERS),
         query=a.AccessesQuery),
    Call("countAccesses", "GET", "/v1/access-counts", "How many access records of a window each holder has, by "
         "act, and about how many accounts.", count_accesses, a.AccessCountsAnswer,
         tuple((name, "CountAccesses") for name in RECORDERS), query=a.AccessQuery),
    Call("readCheckpoint", "GET", "/v1/ledger/checkpoint", "The newest signed checkpoint.", read_checkpoint,
         a.CheckpointAnswer, _of("ledger", "ReadCheckpoint")),
    Call("readEntries", "GET", "/v1/ledger/entries", "Entries of the ledger, with the newest checkpoint and the proof "
         "that they are in its tree: whoever has the log's public key verifies them.", read_entries, a.EntriesAnswer,
         _of("ledger", "ReadEntries", "ReadCheckpoint", "ProveInclusion"), query=a.EntriesQuery),
    Call("proveInclusion", "GET", "/v1/ledger/inclusion", "That an entry is in a tree (RFC 9162 section 2.1.3).",
         prove_inclusion, a.ProofAnswer, _of("ledger", "ProveInclusion"), query=a.InclusionQuery),
    Call("proveConsistency", "GET", "/v1/ledger/consistency", "That a tree is the beginning of another (RFC 9162 "
         "section 2.1.4).", prove_consistency, a.ProofAnswer, _of("ledger", "ProveConsistency"),
         query=a.ConsistencyQuery),
    Call("readContract", "GET", "/v1/contract", "The contract and its last measurement.", read_contract,
         a.ContractAnswer, _of("incident", "ReadContract")),
    Call("readMetrics", "GET", "/v1/metrics", "What this cell's holders count, in the text format of Prometheus.",
         read_metrics, a.Exposition, METRICS_NEEDS, collected=True),
    Call("listCanaries", "GET", "/v1/canaries", "How often canaries of each copy were used; never which accounts.",
         list_canaries, a.CanariesAnswer, _of("incident", "ListCanaries")),
)  # fmt: skip

CALLS: Mapping[str, Call] = {row.name: row for row in _ROWS}
