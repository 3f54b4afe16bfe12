"""Every address with what it leads to, for the partner's own copy: pages, in order. Reads."""

from bulkhead.boundary.messages.to_directory import FORWARDS_MAX, MEMBERS_MAX, BindingEntry
from bulkhead.directory.book import fitting, key_behind
from bulkhead.directory.schema import AddressKind, Forwarding
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId

PAGE_ROWS = 250  # a page takes some milliseconds of the loop
GROUP_ROWS = 50
GROUP = 4  # beside the kinds of AddressKind
_PAGE = (
    "SELECT address.shown, address.kind, account.id, account.binding, account.forwards, account.number, "
    "account.status, account.closed FROM address JOIN account ON account.number = address.account "
    "WHERE address.key > ? ORDER BY address.key LIMIT ?"
)
_FORWARDS = "SELECT shown FROM forward WHERE account = ? ORDER BY key LIMIT ?"
_MEMBERS = (
    "SELECT account.id FROM member JOIN account ON account.number = member.account WHERE member.team = ? "
    "ORDER BY account.id LIMIT ?"
)


def addresses(database: Database, after: str) -> tuple[BindingEntry, ...]:
    """Accounts' addresses. Forwards, binding and switches stand with the account's own."""
    rows = []
    for shown, kind, account, binding, how, number, status, closed in database.read(
        _PAGE, (key_behind(after), PAGE_ROWS)
    ):
        if kind != AddressKind.MAIN:
            rows.append(BindingEntry(shown, kind, account))
            continue
        forwards = database.read(_FORWARDS, (number, FORWARDS_MAX)) if how != Forwarding.NONE else []
        to = tuple(text for (text,) in forwards)
        keep = how != Forwarding.WITHOUT_COPY
        rows.append(BindingEntry(shown, kind, account, binding or b"", to, keep, (), status, closed))
    return fitting(rows, [_size(row) for row in rows])


def groups(database: Database, after: str) -> tuple[BindingEntry, ...]:
    """Groups and their members."""
    rows = []
    page = "SELECT key, shown FROM team WHERE key > ? ORDER BY key LIMIT ?"
    for key, shown in database.read(page, (key_behind(after), GROUP_ROWS)):
        members = tuple(AccountId(account) for (account,) in database.read(_MEMBERS, (key, MEMBERS_MAX)))
        rows.append(BindingEntry(shown, GROUP, members=members))
    return fitting(rows, [_size(row) for row in rows])


def _size(row: BindingEntry) -> int:
    texts = sum(len(text.encode()) + 4 for text in (row.address, *row.forwards))
    return texts + len(row.record) + 20 * len(row.members)
