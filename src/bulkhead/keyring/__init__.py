"""keyring: the second half of the password check; opens message keys for granted sessions; makes mailbox keys.

duty        compare tight tags and return releases; turn a checked login into a session bound to one channel; open
            message keys for that session, counted; make and sign mailbox keys; recovery; stops
privileges  its own data directory (chroot) and key file; no socket, no address, no salt
peers       auth checks, adds and drops halves · submit, access redeem and end sessions · access opens keys ·
            courier opens queued messages · cli makes keys, recovers, stops, counts, checks
            it tells store which sessions exist, and ledger what happened
standards   RFC 9180 (HPKE), RFC 8452 (AES-GCM-SIV), RFC 5869 (HKDF), RFC 8032 (Ed25519); docs/credentials.md
falls       keys of sessions live while it is compromised; no ciphertext, no password at rest; it cannot admit an
            account that has not logged in since

    process.py   starts it                              sessions.py   handles, bound to channels
    handle.py    one function per message type          grants.py     what store is told of them
    logins.py    START HERE: the check, nonces          openings.py   message keys, counted, in slices
    cache.py     logins of programs that poll
    failures.py  its own durable limit on guesses       mailboxes.py  new keys, states, tombstones
    halves.py    setting and dropping halves            recovery.py   orders, tokens
    renewal.py   new generations of mailbox keys        exporting.py  mailbox keys for an export
    tokens.py    one may set one password, once         restore.py    offline, at a restore
    create.py    keys of a new tenant                   check.py      fsck and counts
    keys.py      the keys, loaded                       schema.py     the tables
"""
