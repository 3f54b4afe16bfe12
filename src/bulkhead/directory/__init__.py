"""directory: which address reaches which account, and what state that account is in.

Duty: hosted domains, addresses and account status of one tenant; answers the gates' look-ups.
Privileges: its own directory, no socket.   Peers: mx, submit, access, console, courier and the command line ask it; it
tells ledger of domains, accounts and status changes, by account id, never by address.
Holds: addresses and signed mailbox bindings; records of what staff asked here. No verifier, no mail, no officer's key:
it can misdirect mail inside the cell, and cannot put another key under an account, because gates believe a binding
only once it verifies.
Standards: RFC 5321 sections 2.4 (local parts, folded here by decision), 4.1.2 and 4.5.1 (postmaster).
If it falls: the tenant's addresses; mail misdirected inside the cell; with a fallen gate, forwards to anybody.

    transitions.py   TRANSITIONS: the life of an account
    schema.py        the tables
    reach.py         where mail for an address goes
    elsewhere.py     forwards to other servers: statements for queue, return paths for bounces
    book.py          DirectoryBook: accounts and domains, reads and changes
    routes.py        aliases, groups and forwards
    services.py      what is switched off by account, quotas, classes of service
    listing.py       all bindings, for the partner's copy
    reopening.py     what makes an account or a service work again: in the ledger first
    provision.py     provisioning files, chunk by chunk
    uploads.py       those of them that come in parts, and wait
    notices.py       what subscribers are told of changes to their addresses
    card.py          the masked card of the support desk
    guesses.py       how many unknown addresses a gate may ask for
    restore.py       what a restore closes again
    handle.py        one function per message
    check.py         what `fsck` looks for
    create.py        the keys it is made with
    process.py       starts it
"""
