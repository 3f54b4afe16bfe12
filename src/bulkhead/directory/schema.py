"""The tables of directory.sqlite. Counts are kept with each change, so that asking for them reads a few rows."""

from enum import IntEnum

from bulkhead.boundary.messages.to_directory import FORWARDS_MAX
from bulkhead.holder import cases, order_rows, outbox

DATABASE = "directory.sqlite"


class AddressKind(IntEnum):
    """address.kind."""

    MAIN = 1  # the account's own, by which it logs in
    ALIAS = 2
    RETIRED = 3  # was an alias: reaches nobody, and stays this account's


class Forwarding(IntEnum):
    """account.forwards."""

    NONE = 0
    WITH_COPY = 1
    WITHOUT_COPY = 2


_FIRST = f"""
CREATE TABLE domain (
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, accounts INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE account (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, status INTEGER NOT NULL,
    binding BLOB, quota INTEGER NOT NULL, created INTEGER NOT NULL, changed INTEGER NOT NULL
);
CREATE INDEX account_receiving ON account (number) WHERE status IN (1, 2);
CREATE TABLE address (
    key TEXT PRIMARY KEY, shown TEXT NOT NULL,
    domain TEXT NOT NULL REFERENCES domain, account INTEGER NOT NULL REFERENCES account
) WITHOUT ROWID;
CREATE INDEX address_domain ON address (domain, key);
CREATE INDEX address_account ON address (account);
CREATE TABLE tombstone (digest BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tally (status INTEGER PRIMARY KEY, accounts INTEGER NOT NULL);
{outbox.SCHEMA}
"""
# account.binding is NULL once cancelled: nothing is sealed to that key any more.
# tombstone.digest: HMAC-SHA256(tombstone key, address key), of purged accounts.

_ROUTES = """
ALTER TABLE address ADD COLUMN kind INTEGER NOT NULL DEFAULT 1; -- AddressKind
ALTER TABLE account ADD COLUMN closed INTEGER NOT NULL DEFAULT 0; -- bits of Service that are switched off
ALTER TABLE account ADD COLUMN forwards INTEGER NOT NULL DEFAULT 0; -- Forwarding
ALTER TABLE account ADD COLUMN class TEXT REFERENCES class;      -- NULL: none
CREATE INDEX account_class ON account (class) WHERE class IS NOT NULL;
CREATE TABLE class (
    name TEXT PRIMARY KEY, quota INTEGER NOT NULL, closed INTEGER NOT NULL,
    aliases INTEGER NOT NULL, forwards INTEGER NOT NULL     -- how many at most
) WITHOUT ROWID;
CREATE TABLE team (                                         -- an address that reaches several accounts
    key TEXT PRIMARY KEY, shown TEXT NOT NULL, domain TEXT NOT NULL REFERENCES domain, created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE member (
    team TEXT NOT NULL REFERENCES team ON DELETE CASCADE, account INTEGER NOT NULL REFERENCES account,
    PRIMARY KEY (team, account)
) WITHOUT ROWID;
CREATE INDEX member_account ON member (account);
CREATE TABLE forward (
    account INTEGER NOT NULL REFERENCES account, key TEXT NOT NULL, shown TEXT NOT NULL,
    PRIMARY KEY (account, key)
) WITHOUT ROWID;
CREATE INDEX forward_key ON forward (key)
"""

_PROVISION = """
CREATE TABLE provision (
    root BLOB PRIMARY KEY, lines INTEGER NOT NULL, hashes BLOB NOT NULL,    -- of chunks, 32 octets each
    chunk INTEGER NOT NULL, first INTEGER NOT NULL,         -- the next chunk, and its first line
    done INTEGER NOT NULL, refused INTEGER NOT NULL, begun INTEGER NOT NULL, changed INTEGER NOT NULL
);
CREATE TABLE refused_line (
    root BLOB NOT NULL REFERENCES provision ON DELETE CASCADE, line INTEGER NOT NULL, code TEXT NOT NULL,
    PRIMARY KEY (root, line)
) WITHOUT ROWID
"""

_ELSEWHERE = f"""
ALTER TABLE forward ADD COLUMN elsewhere INTEGER NOT NULL DEFAULT 0;     -- 1: the target is another server's
ALTER TABLE class ADD COLUMN elsewhere INTEGER NOT NULL DEFAULT {FORWARDS_MAX};
"""
# class.elsewhere: how many of the forwards may lead to other servers.

_UPLOAD = """
CREATE TABLE provision_part (                               -- chunks that wait to be carried out
    root BLOB NOT NULL REFERENCES provision ON DELETE CASCADE, number INTEGER NOT NULL, data BLOB NOT NULL,
    since INTEGER NOT NULL,                                 -- ms
    PRIMARY KEY (root, number)
)
"""

_NOTICE = """
CREATE TABLE notice (                                       -- what subscribers are to be told
    number INTEGER PRIMARY KEY AUTOINCREMENT, account BLOB NOT NULL, kind INTEGER NOT NULL, about TEXT NOT NULL,
    at INTEGER NOT NULL                                     -- ms
);
CREATE INDEX notice_account ON notice (account)
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST, _ROUTES, order_rows.SCHEMA, order_rows.FLOOR, _PROVISION, cases.SCHEMA, order_rows.WAIT,
    _ELSEWHERE, _UPLOAD, _NOTICE,
)  # fmt: skip
