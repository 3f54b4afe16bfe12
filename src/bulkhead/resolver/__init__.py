"""resolver: where mail for a domain goes, by DNS.

Duty: answers courier's questions for mail hosts, from the tenant's zone text first, else from the configured name
servers.   Privileges: sockets that dialer connected to those servers; no file, no socket() of its own.
Peers: courier asks; dialer connects.   Standards: RFC 1035, RFC 2308, RFC 5321 section 5.1, RFC 6891, RFC 7505,
RFC 7766; answers are checked as RFC 5452 section 9.1 asks.   Not done: DNSSEC, 0x20.
If it falls: outbound mail is led elsewhere while it is compromised.

response.py     PURE: a question as bytes; a response as an Answer, or refused
zone.py         PURE: the tenant's own zone text
cache.py        PURE: answers until their time to live ends
name_servers.py asks: UDP, then TCP where truncated; two rounds
lookup.py       zone, cache, servers; aliases followed; equal questions asked once
mail_hosts.py   MX, or the domain itself; addresses
"""
