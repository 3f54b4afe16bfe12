"""Files of accounts from other servers: read in a process that has nothing, and handed over as capped rows.

duty        say what each line of a foreign file is: address, password or digest, quota, status; or why it is refused
privileges  of the reader: the file by its descriptor, a pipe, and nothing else; it ends with the file
peers       the command `account import`, which takes its rows as a stranger's
standards   RFC 4180 section 2 (CSV), RFC 2307 section 5.3 (`{SCHEME}`); docs/import.md
falls       passwords and digests of the file that is imported, and no others

    reader.py        the process: locked first    dialects.py     START HERE: who writes what, one account a line
    rows.py          its messages, in frames      ldif.py         records of several lines
    lines.py         octets into lines            digest_text.py  what a password's text may be
    fields.py        address, quota, status
"""
