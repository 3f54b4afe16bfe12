"""The tables of store.sqlite. A change is one more migration; no migration is ever edited.

Numbers called seq are the database's own short keys; ids are the 16 random bytes that the rest of Bulkhead knows.
Flags are the 64 bits of docs/store.md as a signed integer, which is how SQLite keeps 64 bits.
"""

from bulkhead.holder import cases, order_rows, outbox, surfaces

MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('epoch', 0), ('reaped', 0);  -- reaped: the highest segment number ever removed

    CREATE TABLE account (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        account BLOB NOT NULL UNIQUE,
        quota INTEGER NOT NULL,         -- octets of RFC822.SIZE, 0: no limit
        used INTEGER NOT NULL,          -- octets of RFC822.SIZE over all message rows
        messages INTEGER NOT NULL,      -- message rows
        modseq INTEGER NOT NULL,        -- the highest given out
        uid_validity INTEGER NOT NULL,  -- the last given out
        next_page INTEGER NOT NULL,     -- the next free page number
        keywords INTEGER NOT NULL,      -- bits in use, 5 to 63
        inbox INTEGER NOT NULL          -- mailbox.seq
    );

    CREATE TABLE mailbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL,
        mailbox BLOB NOT NULL,
        role INTEGER NOT NULL,
        sealed_name BLOB NOT NULL,
        tag BLOB,                       -- keyed lookup tag of the name; NULL for INBOX
        uid_validity INTEGER NOT NULL,
        uid_next INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        unseen INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        recent INTEGER NOT NULL,        -- rows with uid >= recent_from
        recent_from INTEGER NOT NULL,
        size INTEGER NOT NULL,
        modseq INTEGER NOT NULL,        -- of the last change in it
        logged INTEGER NOT NULL,        -- rows of `expunged`
        log_floor INTEGER NOT NULL,     -- `expunged` is whole above this MODSEQ
        UNIQUE (account, mailbox),
        UNIQUE (account, tag)
    );

    CREATE TABLE email (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL,
        email BLOB NOT NULL,
        refs INTEGER NOT NULL,          -- message rows that name it
        size INTEGER NOT NULL,          -- RFC822.SIZE
        date INTEGER NOT NULL,          -- INTERNALDATE, seconds
        page INTEGER NOT NULL,          -- 0: arrived, sealed_key is the HPKE box; else filed, it is the slot
        place INTEGER NOT NULL,         -- index in the page
        sealed_key BLOB NOT NULL,
        summary_size INTEGER NOT NULL,
        header_size INTEGER NOT NULL,
        body_size INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,        -- of the record in the segment
        UNIQUE (account, email)
    );

    CREATE TABLE message (
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        email INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        PRIMARY KEY (mailbox, uid)
    ) WITHOUT ROWID;

    CREATE TABLE expunged (
        mailbox INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        PRIMARY KEY (mailbox, modseq, uid)
    ) WITHOUT ROWID;

    CREATE TABLE page (
        account INTEGER NOT NULL,
        page INTEGER NOT NULL,
        version INTEGER NOT NULL,
        used INTEGER NOT NULL,          -- summaries in it, dead ones too
        live INTEGER NOT NULL,          -- emails that name it
        size INTEGER NOT NULL,          -- sealed bytes
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        PRIMARY KEY (account, page)
    ) WITHOUT ROWID;

    CREATE TABLE segment (
        number INTEGER PRIMARY KEY,
        live INTEGER NOT NULL,          -- records that an email or page names
        bytes INTEGER NOT NULL          -- of those records, headers included
    );

    CREATE TABLE keyword (
        account INTEGER NOT NULL,
        tag BLOB NOT NULL,
        bit INTEGER NOT NULL,
        sealed_name BLOB NOT NULL,
        PRIMARY KEY (account, tag),
        UNIQUE (account, bit)
    ) WITHOUT ROWID;

    CREATE TABLE subscription (
        account INTEGER NOT NULL,
        tag BLOB NOT NULL,
        sealed_name BLOB NOT NULL,
        PRIMARY KEY (account, tag)
    ) WITHOUT ROWID;

    CREATE TABLE answer_body (          -- the body that went with a receipt's reply
        request_id BLOB PRIMARY KEY,
        kept INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX answer_body_kept ON answer_body (kept);
    """,
    """
    CREATE TABLE uidl (                 -- unique-ids that messages of an INBOX brought from a former system
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        uidl TEXT NOT NULL,
        PRIMARY KEY (mailbox, uid),
        UNIQUE (mailbox, uidl)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE segment ADD COLUMN dead_since INTEGER;  -- seconds: since when it holds dead records; NULL: none known
    ALTER TABLE page ADD COLUMN held INTEGER NOT NULL DEFAULT 0;  -- summaries in it that were not emptied
    UPDATE page SET held = used;
    CREATE INDEX email_page ON email (account, page) WHERE page != 0;
    """,
    """
    ALTER TABLE mailbox ADD COLUMN deleted_size INTEGER NOT NULL DEFAULT 0;  -- octets of rows flagged Deleted
    UPDATE mailbox SET deleted_size = coalesce((SELECT sum(e.size) FROM message m JOIN email e ON e.seq = m.email
        WHERE m.mailbox = mailbox.seq AND m.flags & 8 != 0), 0) WHERE deleted != 0;
    """,
    """
    ALTER TABLE answer_body ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;  -- 1: by place of octet, deflated
    """,
    """
    ALTER TABLE page ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;  -- of the mailbox key, as the record says
    ALTER TABLE account ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;  -- below it nothing is taken in
    """,
    """
    CREATE INDEX email_arrived ON email (account) WHERE page = 0;  -- whether any is sealed to an older mailbox key
    """,
    """
    ALTER TABLE account ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;  -- octets of RFC822.SIZE over all rows of `deleted`
    CREATE TABLE deleted (              -- deleted messages that can come back; each is a reference of its email
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,       -- mailbox.seq, or deleted_mailbox.mailbox
        email INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        at INTEGER NOT NULL             -- seconds
    );
    CREATE INDEX deleted_mailboxes ON deleted (account, mailbox, at);
    CREATE INDEX deleted_of ON deleted (mailbox);
    CREATE INDEX deleted_email ON deleted (email);
    CREATE INDEX deleted_at ON deleted (at);
    CREATE TABLE deleted_mailbox (      -- mailboxes that were deleted and of which messages are kept
        mailbox INTEGER PRIMARY KEY,    -- the seq it had
        account INTEGER NOT NULL,
        ident BLOB NOT NULL,
        role INTEGER NOT NULL,
        sealed_name BLOB NOT NULL,
        tag BLOB
    );
    """,
    f"{outbox.SCHEMA}; {order_rows.SCHEMA}",
    order_rows.FLOOR,
    surfaces.SCHEMA,
    cases.SCHEMA,
    order_rows.WAIT,
)

DATABASE = "store.sqlite"
