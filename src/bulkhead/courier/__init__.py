"""courier: carries queued mail to other servers, and tells the sender what could not be carried.

Duty: takes due messages from queue, finds the mail hosts, speaks SMTP, reports every recipient's outcome; writes DSNs.
Privileges: sockets that dialer connected; no file, no socket() of its own.   Peers: queue, keyring (one message key an
attempt), resolver, dialer; directory and store for notifications to its own subscribers, of changed addresses too.
Standards: RFC 5321 sections 4.2.5, 4.5.4, 5.1 and 6.3, RFC 3207, RFC 7435, RFC 7505, RFC 3461 to 3464.
If it falls: outbound mail is read, altered or lost while it is compromised; nothing at rest.

route.py        PURE: domains, order of hosts, what an answer of resolver means
connection.py   a dialled socket: bytes, deadlines, TLS
session.py      a session with one server, message after message: SmtpSender on a connection
links.py        sessions that wait for their next message; how many go to one host
spool.py        a message's text in memory, within a budget
attempt.py      one attempt at one message: every recipient gets an outcome
notices.py      what subscribers are told of their addresses
bounce.py       notifications to the sender, delivered once
trip.py         attempt, notification and report, in that order
"""
