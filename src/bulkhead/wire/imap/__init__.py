"""IMAP (RFC 3501) as bytes in, events out: no socket, no loop, no clock.

limits, grammar, commands, command_table   what a client may say
receiver                                   bytes to events
sequence, flags, mailbox_name              the small values of the protocol
fetch, search, search_plan, sources        what is asked of messages, and how far it has to read
responses                                  what the server says
"""
