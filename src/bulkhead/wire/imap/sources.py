"""How far into a message a request has to read, cheapest first.

A message lies in parts that open one by one; a request says which it needs, so that a list of a folder never opens
a body.
"""

from enum import IntEnum
from typing import Final


class Source(IntEnum):
    """The parts of a message in the order of their price; each holds what the ones before it hold."""

    ARRAYS = 0  # flags, UID, size, internal date: packed per mailbox, nothing is opened
    SUMMARY = 1  # ENVELOPE, BODYSTRUCTURE and the listed header fields
    HEADER = 2  # the complete header
    BODY = 3  # the message


SUMMARY_FIELDS: Final = frozenset(
    (
        b"BCC",
        b"CC",
        b"CONTENT-TYPE",
        b"DATE",
        b"FROM",
        b"IN-REPLY-TO",
        b"MESSAGE-ID",
        b"REFERENCES",
        b"REPLY-TO",
        b"SENDER",
        b"SUBJECT",
        b"TO",
    )
)
"""Header fields that a summary is expected to hold; callers that keep more pass their own set, in upper case."""
