"""The tables of incident.sqlite. A change is one more migration; no migration is ever edited."""

from bulkhead.holder import outbox

MIGRATIONS = (
    f"""
    CREATE TABLE copy (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,  -- `live`, or the id of a backup or an export
        canaries INTEGER NOT NULL,
        since INTEGER NOT NULL      -- ms
    );
    CREATE TABLE seed (
        tag BLOB PRIMARY KEY,       -- HMAC of an account id, of a real one or of directory's decoy
        copy INTEGER NOT NULL REFERENCES copy (number)
    ) WITHOUT ROWID;
    CREATE TABLE hit (
        copy INTEGER NOT NULL REFERENCES copy (number),
        right INTEGER NOT NULL,     -- whether the password was right
        network BLOB NOT NULL,      -- /24 or /56; empty: unknown, or one of too many
        first INTEGER NOT NULL,     -- ms
        last INTEGER NOT NULL,
        count INTEGER NOT NULL,
        told INTEGER NOT NULL,      -- when the ledger was last told
        PRIMARY KEY (copy, right, network)
    ) WITHOUT ROWID;
    {outbox.SCHEMA}
    """,
    """
    CREATE TABLE contract (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        text TEXT NOT NULL,
        adopted INTEGER NOT NULL,   -- ms
        checked INTEGER NOT NULL,   -- ms, of the last measurement; 0: none yet
        facts BLOB NOT NULL         -- what the command line learnt from the ledger until then
    );
    CREATE TABLE term (
        name TEXT PRIMARY KEY,
        promised INTEGER NOT NULL,
        measured INTEGER NOT NULL,
        standing INTEGER NOT NULL,
        entry INTEGER NOT NULL,
        why TEXT NOT NULL,
        since INTEGER NOT NULL      -- ms, from when on it stands so
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE automatic (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL,   -- of the roster that automatic orders name
        hash BLOB NOT NULL,         -- its hash
        officer TEXT NOT NULL       -- under which name our key is in it; empty: it is not
    );
    INSERT INTO automatic VALUES (1, 0, zeroblob(32), '')
    """,
    """
    CREATE TABLE advisory (
        advisory TEXT NOT NULL,
        component TEXT NOT NULL,
        version TEXT NOT NULL,
        severity INTEGER NOT NULL,
        published INTEGER NOT NULL, -- ms, by the record
        came INTEGER NOT NULL,      -- ms, when it was first brought
        record BLOB NOT NULL,       -- its SHA-256
        compartments TEXT NOT NULL,
        opened INTEGER NOT NULL,    -- ms
        closed INTEGER NOT NULL,    -- ms; 0: open
        why TEXT NOT NULL,          -- it was closed
        PRIMARY KEY (advisory, component)
    ) WITHOUT ROWID;
    CREATE TABLE compared (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        checked INTEGER NOT NULL,   -- ms, of the last comparison
        components INTEGER NOT NULL,
        inventory BLOB NOT NULL,    -- SHA-256 of what is installed
        records INTEGER NOT NULL,
        newest INTEGER NOT NULL,    -- ms, of the youngest record
        unsure INTEGER NOT NULL,
        beyond INTEGER NOT NULL,    -- open ones that found no place
        told INTEGER NOT NULL       -- ms, when the ledger was last told
    )
    """,
)
