"""queue: mail that waits to leave, durable until another server or the sender has it.

Duty: keeps outbound envelopes, their schedule and their sealed text; lends messages to courier and records what came of
each attempt.   Privileges: its own directory; no socket, no key.   Peers: submit puts in, mx what directory lets go on;
courier takes; the command line counts, lists and hastens.
Standards: RFC 5321 section 4.5.4.1 (retry).   If it falls: outbound envelopes are read, outbound mail is withheld; no
text of a message can be read here.

States of one message, and why a crash in each is harmless (F: its file, R: its row in queue.sqlite):

  1  no F, no R      never came, or is gone. Nothing to do.
  2  part of F, no R being received. Enqueue has not been answered, so submit still owns the message. The file is swept
                     at the next start, or overwritten when submit sends it again.
  3  F, no R         received, F and its directory synced, the row not committed. As 2.
  4  F, R, no lease  Enqueue was answered Done only after R was durable, and R only after F: so for every R there is a
                     whole F. Waits for its time.
  5  F, R, leased    courier is trying. The lease is in memory: when courier's channel ends, or this process does, the
                     message is in state 4 again and due at once. What courier did meanwhile is not known: where it had
                     sent the final dot, a second copy follows. R says durably who has it, so that an attempt without
                     report is counted as unknown when the message is lent to another, across restarts and kills.
  6  F, R, reported  ReportAttempt was answered only after the outcome of each recipient was durable. Its request id is
                     kept in the same transaction, so a repeated report is answered and not done again. Recipients that
                     are delivered or failed are never offered again; others take state 4.
  7  F, no R         the last recipient was settled: the row's removal is durable, F is unlinked after it. A crash
                     between leaves F alone, which the next start sweeps. F is never unlinked before.

schedule.py   PURE: when to try again, when to give up
files.py      the sealed text, one file a message
forwards.py   what goes on to other servers by directory's statement: verified, once, so many a day
spending.py   what each account sent in the last hour and day, and when that is enough
rows.py       SQL: envelopes, recipients, what is due
state.py      the running queue: leases, counts, the timer
handle.py     one function per message
check.py      whether database and files agree
backup.py standby.py restore.py   what it gives to copies, and takes from them
create.py     the keys it is made with
process.py    starts it
"""
