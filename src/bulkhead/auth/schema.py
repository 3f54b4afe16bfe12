"""The tables of auth.sqlite. A change is one more migration; no migration is ever edited.

Row keys are HMACs under auth's own index key, so that its rows and keyring's cannot be joined without both.
"""

from bulkhead.holder import cases, consent, order_rows, outbox, provision, revocation, rotation, stop, surfaces

MIGRATIONS = (
    f"""
    CREATE TABLE account (
        owner BLOB PRIMARY KEY,     -- row key of the account
        state INTEGER NOT NULL      -- AccountState; absent: open
    ) WITHOUT ROWID;

    CREATE TABLE half (
        bid BLOB PRIMARY KEY,
        g INTEGER NOT NULL,
        owner BLOB NOT NULL,
        record BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX half_owner ON half (owner);

    CREATE TABLE change (           -- of a credential, while it is between its steps
        bid BLOB PRIMARY KEY,
        account BLOB NOT NULL,
        cred INTEGER NOT NULL,
        keep_g INTEGER NOT NULL     -- the half that keyring is to keep
    ) WITHOUT ROWID;

    {outbox.SCHEMA};
    {stop.SCHEMA}
    """,
    # whether what is kept is made of the same password, so that its sessions go on
    "ALTER TABLE change ADD COLUMN same_password INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE app_password (
        bid BLOB PRIMARY KEY,       -- of its half
        owner BLOB NOT NULL,
        cred INTEGER NOT NULL,      -- its number, from 1
        record BLOB NOT NULL        -- what a list shows of it; sealed for bid and change 1
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX app_password_owner ON app_password (owner, cred);
    CREATE TABLE app_password_number (owner BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID
    """,
    revocation.SCHEMA,
    """
    CREATE TABLE known (            -- networks from which a password was right: known.py
        owner BLOB NOT NULL,
        tag BLOB NOT NULL,          -- keyed hash of account and network
        day INTEGER NOT NULL,       -- of the last login from there, days since 1970
        PRIMARY KEY (owner, tag)
    ) WITHOUT ROWID
    """,
    rotation.SCHEMA,
    """
    ALTER TABLE half ADD COLUMN digest_ms INTEGER NOT NULL DEFAULT 0; -- what an imported digest may take
    CREATE INDEX half_digest ON half (digest_ms) WHERE digest_ms > 0
    """,
    order_rows.SCHEMA,
    order_rows.FLOOR,
    surfaces.SCHEMA,
    f"{cases.SCHEMA}; {consent.SCHEMA}",
    order_rows.WAIT,
    provision.SCHEMA,
)
