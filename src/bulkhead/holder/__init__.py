"""Library of the compartments that hold something: one SQLite database each, written durably by one thread.

What every holder rests on
  database.py        START HERE: group commit, request ids kept with their mutation; database_file.py opens it
  keys.py            a compartment's key file under its root key, and the way to change it
  outbox.py          events that belong to a mutation, on their way to the ledger
  witness.py         events that must be in the ledger before their act
  shared.py          requests that all answer alike; handing.py  handlers that hand on; violations.py  edges' faults
  turns.py walk.py   work in a few threads, by turns; rows in slices, with the loop free between
  levels.py waits.py sources.py latency.py   counts that fall, waits that double, a client's source; histograms

Credentials (auth, keyring)
  rotation.py revocation.py census.py        records sealed anew while it serves; void as of a time; opened and counted
  account_states.py provision.py             suspended or switched off, apart; their part of a signed file

Who may, and what is stopped
  orders.py          officers' orders; order_check, order_effects, order_rows, order_guard.py  its parts; roster.py
  staff.py           staff sessions; staff_records.py  what staff did
  cases.py consent.py desk.py                support cases, subscribers' codes, what may be done with both
  stop.py surfaces.py account_sets.py        a tenant's stop; stops by surface and set; the sets
  session_reach.py                           which sessions and logins such a stop concerns
  rules.py reserve.py                        stops that a holder makes by itself; room on the disk for a stop

Records of access
  accesses.py        written by day; access_frames.py  the file; access_search.py finds; access_counts.py counts

Copies
  backup.py snapshot.py blocks.py barrier.py a backup's stream, what changed since the last, one moment for two holders
  standby.py shipping.py wal.py lease.py     what is shipped to a standby, and under whose lease changes are answered
"""
