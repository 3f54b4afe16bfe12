"""What an account may use, by the API: its quota at both who hold it, its class of service, and what classes are."""

import re
from collections.abc import Mapping
from typing import Annotated, cast

from msgspec import Meta

from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.messages.to_store import LimitAccount, ReadUsage
from bulkhead.console import answers as a
from bulkhead.console.problem import CallError
from bulkhead.console.staffed import Staffed
from bulkhead.identifiers import AccountId

QUOTA_MAX = 1 << 50  # octets
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
Path = Mapping[str, str]
Quota = Annotated[int, Meta(ge=0, le=QUOTA_MAX)]


class QuotaBody(a.Value, frozen=True):
    """octets: the mailbox's size; 0 is no limit."""

    octets: Quota


class QuotaAnswer(a.Value, frozen=True):
    """quota_bytes: as `directory` shows it. limit_bytes: as `store` holds the account to it. used_bytes: there now."""

    quota_bytes: int
    limit_bytes: int
    used_bytes: int


class SetClassBody(a.Value, frozen=True, rename={"name": "class"}):
    """class: of `GET /v1/classes`."""

    name: Annotated[str, Meta(min_length=1, max_length=32)]


class ClassBody(a.Value, frozen=True):
    """A class of service. off: services that are off. aliases, forwards: how many at most.

    forwards_elsewhere: how many of the forwards may lead to other servers.
    """

    quota_bytes: Quota
    off: Annotated[list[a.ServiceName], Meta(max_length=3)]
    aliases: Annotated[int, Meta(ge=0, le=d.ALIASES_MAX)] = d.ALIASES_MAX
    forwards: Annotated[int, Meta(ge=0, le=d.FORWARDS_MAX)] = d.FORWARDS_MAX
    forwards_elsewhere: Annotated[int, Meta(ge=0, le=d.FORWARDS_MAX)] = d.FORWARDS_MAX


def off_names(closed: int) -> list[a.ServiceName]:
    """Names of the services whose bits are set."""
    return cast("list[a.ServiceName]", [name for name, bit in a.SERVICE_BITS.items() if closed & bit])


def account_answer(row: d.AccountRow) -> a.Account:
    """An account as the API gives it."""
    status = a.STATUSES.get(row.status, "unknown")
    return a.Account(
        row.account.hex(), row.address, status, row.quota_bytes, row.created, off_names(row.closed), row.class_name
    )


async def show_quota(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> QuotaAnswer:
    """Both sides of it."""
    row = await staff.ask("directory", d.ShowAccount(path["address"]))
    usage = await staff.ask("store", ReadUsage(AccountId(row.account)))
    return QuotaAnswer(row.quota_bytes, usage.quota_bytes, usage.used)


async def set_quota(staff: Staffed, path: Path, _: a.Rehearsal, body: QuotaBody) -> a.Account:
    """In directory, which says whose address it is, then at store, which holds the account to it."""
    row = await staff.ask("directory", d.SetQuota(staff.stamp(), path["address"], body.octets))
    await staff.ask("store", LimitAccount(staff.stamp(), AccountId(row.account), row.quota_bytes))
    return account_answer(row)


async def set_class(staff: Staffed, path: Path, _: a.Rehearsal, body: SetClassBody) -> a.Account:
    """Quota and switches as the class has them now; never the switch for logins."""
    row = await staff.ask("directory", d.SetClass(staff.stamp(), path["address"], body.name))
    await staff.ask("store", LimitAccount(staff.stamp(), AccountId(row.account), row.quota_bytes))
    return account_answer(row)


async def define_class(staff: Staffed, path: Path, _: a.Rehearsal, body: ClassBody) -> a.Done:
    """Accounts follow when they are given it again."""
    if not _NAME.fullmatch(path["class"]):
        raise CallError(400, "a class's name is 1 to 32 of a-z, 0-9 and dash", "bad-path")
    closed = sum(a.SERVICE_BITS[name] for name in set(body.off))
    row = d.ClassRow(
        path["class"], body.quota_bytes, closed, body.aliases, body.forwards, elsewhere=body.forwards_elsewhere
    )
    await staff.ask("directory", d.DefineClass(staff.stamp(), row))
    return a.Done()
