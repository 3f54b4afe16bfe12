"""mx: SMTP from other servers.

Duty: receive mail for the tenant's own addresses, seal it and hand it to store; 250 only when it is durable there.
What an account forwards elsewhere it hands to queue, with a statement that directory signed for that one message.
Privileges: accepts connections on the `mx` listener; its own directory, emptied once its certificate is loaded.
Peers: directory (who is that), store (append, room), queue (a forward, by directory's statement). It can name no
stored message and holds no key but its TLS key.
Standards: RFC 5321, 1870, 2034, 2920, 3207, 6152 (wire.smtp); RFC 3848, 5321 section 4.4 (wire.trace).
If it falls: mail in transit through that worker; forged mail into its own cell. No stored mail, no
password. Mail of its own making to the targets of forwards whose accounts it knows, within their daily numbers.
"""
