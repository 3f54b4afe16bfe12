"""access: IMAP (993) and POP3 (995) for the subscribers of one tenant, TLS from the first byte or before any login.

duty        let a subscriber read, sort, search and append mail; file arrived mail into summary pages
privileges  connections that were accepted; its own TLS key; no disk, no socket of its own
peers       directory finds the account · auth and keyring admit it · keyring opens message, slot and page keys of
            live sessions · store reads and writes by the session's handle, and tells what changed
standards   RFC 3501 and what CAPABILITIES in wire.imap.responses lists; RFC 1939, 2449, 2595, 5034 (POP3)
falls       passwords typed there while it is compromised; what the live sessions of that worker may open

    process.py        starts it, reloads it          selected.py      the session's view of its mailbox
    worker.py         what all sessions share        folders.py       names, LIST, CREATE ... SUBSCRIBE
    account.py        one login: calls and keys      keywords.py      keywords and their bits
    imap_session.py   START HERE for IMAP            mail.py          rows, keys, ranges of a message
    imap_login.py     commands before a login        summaries.py     pages and summaries
    imap_mailbox.py   commands on the selection      filing.py        arrived mail into pages
    output.py         what is sent, with pauses      fetch.py         FETCH
    outcome.py        errors as response codes       search.py        SEARCH, with search_text.py for bodies
    pop3_session.py   START HERE for POP3            append.py        APPEND
    maildrop.py       INBOX as POP3 sees it          idle.py          IDLE
    read_ahead.py     the messages that POP3 asks for next
"""
