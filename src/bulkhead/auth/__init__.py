"""auth: the first half of the password check, and the limits on it.

duty        stretch passwords; ask keyring for the second half; answer every failure at one time; count; stop logins
privileges  its own data directory (chroot) and key file; the list of breached passwords, open to be read; no socket,
            no address, no tag that a guess could be tested on
peers       submit, access authenticate · cli sets first and recovered passwords, stops, counts, checks
            it asks keyring to check, add and drop halves, and tells ledger what happened
standards   RFC 9106 (Argon2id), NIST SP 800-63B-4 section 3.1.1; docs/credentials.md
falls       passwords typed while it is compromised; guesses online, under keyring's own limit

    process.py    starts it                        passwords.py   START HERE: a change in three steps, crash argument
    handle.py     one function per message type    check.py       fsck and counts
    logins.py     one login, answered on time      rows.py        salts and digests, and decoys
    limits.py     who is refused unread, who waits stretching.py  Argon2id off the loop
    known.py      networks a login was right from
    breached.py   passwords not to be used         app_passwords.py  made, listed, revoked
    watch.py      what incident hears of logins    restore.py     offline, at a restore
    create.py     keys of a new tenant             schema.py      the tables
"""
