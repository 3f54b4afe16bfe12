"""How far into a message a request has to read, cheapest first.

A message lies in parts that open one by one; a request says which it needs, so that a list of a folder never opens
a body.
"""

from enum import IntEnum
from typing import Final

from bulkhead.wire.summary import LISTED, LISTED_VERSION


class Source(IntEnum):
    """The parts of a message in the order of their price; each holds what the ones before it hold."""

    ARRAYS = 0  # flags, UID, size, internal date: packed per mailbox, nothing is opened
    SUMMARY = 1  # ENVELOPE, BODYSTRUCTURE and the listed header fields
    HEADER = 2  # the complete header
    BODY = 3  # the message


SUMMARY_FIELDS: Final = frozenset(name.upper() for name in LISTED[LISTED_VERSION])
"""Header fields, in upper case, that a new summary holds; of one message `Summary.holds_fields` has the last word."""
