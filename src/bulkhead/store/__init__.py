"""store: mailboxes, messages, flags, UIDs and quota of one tenant, as ciphertext.

duty        keep every message it said 250 for; give UIDs and MODSEQs in order; tell watching sessions of changes
privileges  its own data directory (chroot); no socket, no key, no address, no folder name
peers       mx, submit, courier append and name no existing message · keyring grants and revokes sessions ·
            access reads and writes by a granted handle only · cli opens and destroys accounts, counts, checks
standards   RFC 3501 and RFC 9051 (UIDs, flags), RFC 4315 (UIDPLUS), RFC 6851 (MOVE), RFC 7162 (MODSEQ)
falls       stored mail can be withheld, destroyed or rolled back; none can be read

    process.py   starts it                         segment.py   START HERE for durability: states and crash argument
    handle.py    one function per message type     schema.py    the tables
    grants.py    who may use which handle          columns.py   packed arrays per mailbox
    rows.py      what a mutation does to the rows  changes.py   what a commit changed, and who watches it
    intake.py    bodies on their way in            fsck.py      rows, segments and counts against each other
    disk.py      every file operation              loans.py     listings that were not read yet
"""
