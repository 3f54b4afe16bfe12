"""Library of the front compartments.

serve.py      accepts and counts; each connection is one session coroutine
connection.py one client's byte stream, its TLS and its time-outs
budget.py     octets of messages in memory
message.py    a message on its way in, in pieces
tls.py        the gate's own certificate, loaded from its own directory, reloaded without restart
login.py      directory, auth, keyring: from a login name to a session handle
outbound.py   seal to the queue key and hand to queue: what a subscriber sends, what a forward sends on
forwards.py   mailboxes and forwards of one transaction; loops
delivery.py   summarise, seal and hand to store, for every local recipient in one transaction
"""
