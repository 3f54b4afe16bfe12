"""Library of the compartments that hold something: one SQLite database each, written durably by one thread.

database.py   group commit, request ids kept with their mutation, secure deletion
outbox.py     events that belong to a mutation, on their way to the ledger
witness.py    events that must be in the ledger before their act
stop.py       a tenant's stop: an epoch that only goes up
levels.py     counts that fall with time, and how many keys in a minute; bounded
waits.py      waits that double and end
turns.py      work in a few threads, by turns
sources.py    what a client's address is counted by
keys.py       a compartment's key file under its root key, and the way to change it
rotation.py   every record sealed anew under the next version of a key, while it serves
"""
