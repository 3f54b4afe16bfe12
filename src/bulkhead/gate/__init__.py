"""Library of the front compartments.

serve.py      accepts and counts; each connection is one session coroutine
connection.py one client's byte stream, its TLS and its time-outs
budget.py     octets of messages in memory
message.py    a message on its way in, in pieces
tls.py        the gate's own certificate, loaded from its own directory, reloaded without restart
pace.py       how fast one source may go
smtp.py       wire.smtp's receiver on a connection; smtp_service.py starts an SMTP gate
lease.py      the last look before yes, where the tenant has a standby
login.py      directory, auth, keyring: from a login name to a session handle
outbound.py   seal to the queue key and hand to queue: what a subscriber sends, what a forward sends on
forwards.py   mailboxes and forwards of one transaction; loops
recipients.py what is decided about a recipient: ours and open, ours and not, someone else's
delivery.py   summarise, seal and hand to store, for every local recipient in one transaction
"""
