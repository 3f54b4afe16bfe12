"""The tables of keyring.sqlite. A change is one more migration; no migration is ever edited.

Row keys bid and mid are HMACs (docs/formats.md); records are sealed under K_ring; bindings are public.
"""

from bulkhead.holder import order_rows, outbox, provision, revocation, rotation, stop, surfaces

MIGRATIONS = (
    f"""
    CREATE TABLE account (
        mid BLOB PRIMARY KEY,
        state INTEGER NOT NULL      -- AccountState; 3 is a tombstone and stays for ever
    ) WITHOUT ROWID;

    CREATE TABLE mailbox (
        mid BLOB NOT NULL,
        generation INTEGER NOT NULL,
        record BLOB NOT NULL,
        binding BLOB NOT NULL,
        PRIMARY KEY (mid, generation)
    ) WITHOUT ROWID;

    CREATE TABLE half (
        bid BLOB NOT NULL,
        g INTEGER NOT NULL,
        mid BLOB NOT NULL,
        record BLOB NOT NULL,
        PRIMARY KEY (bid, g)
    ) WITHOUT ROWID;
    CREATE INDEX half_mid ON half (mid);

    CREATE TABLE failure (
        mid BLOB PRIMARY KEY,
        began INTEGER NOT NULL,     -- seconds, start of its hour
        failures INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE recovery_day (day INTEGER PRIMARY KEY, begun INTEGER NOT NULL);

    {outbox.SCHEMA};
    {stop.SCHEMA}
    """,
    revocation.SCHEMA,
    rotation.SCHEMA,
    """
    ALTER TABLE mailbox ADD COLUMN renewal INTEGER NOT NULL DEFAULT 0;  -- number of the order it was made under
    CREATE INDEX mailbox_renewal ON mailbox (renewal) WHERE renewal > 0;
    CREATE TABLE renewal (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        number INTEGER NOT NULL,    -- of the order in force; 0: none was given
        ordered_at INTEGER NOT NULL -- ms since 1970
    );
    INSERT INTO renewal VALUES (1, 0, 0)
    """,
    order_rows.SCHEMA,
    order_rows.FLOOR,
    surfaces.SCHEMA,
    stop.OUTBOUND_SCHEMA,
    order_rows.WAIT,
    provision.SCHEMA,
    # accounts for which a signed file brings a first password that is not set yet
    "CREATE TABLE promised (mid BLOB PRIMARY KEY) WITHOUT ROWID",
)
