"""submit: SMTP from subscribers.

Duty: log a subscriber in, check that the sender's address is theirs, seal for local mailboxes and for the queue.
Privileges: accepts connections on `submissions` and `submission`; its own directory, emptied once loaded.
Peers: directory, auth, keyring (a session that opens nothing), store (append), queue (enqueue).
Standards: RFC 6409, 8314 section 3.3, 4954, 5321 (wire.smtp, wire.sasl); RFC 3848 (wire.trace).
If it falls: passwords typed there while it is compromised; mail in transit through that worker.
"""
