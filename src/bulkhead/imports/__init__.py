"""Files of accounts from other servers: read in a process that has nothing, and handed over as capped rows.

duty        say what each line of a foreign file is: address, password or digest, quota, status; or why it is refused
privileges  of the reader: the file by its descriptor, a pipe, and nothing else; it lives as long as the file
peers       the command `account import`, which checks its rows as a stranger's
standards   RFC 2307 section 5.3 (`{SCHEME}`)
falls       passwords and digests of the file that is imported, and no others

    digest_text.py   START HERE: what a password's text may be
"""
