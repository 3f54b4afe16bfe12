"""The tables of directory.sqlite. Counts are kept with each change, so that asking for them reads a few rows."""

from bulkhead.holder import outbox

DATABASE = "directory.sqlite"

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

MIGRATIONS: tuple[str, ...] = (_FIRST,)
