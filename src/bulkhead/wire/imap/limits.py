"""Limits of one IMAP connection: the vocabulary of every refusal by size, in octets unless said otherwise."""

from dataclasses import dataclass
from typing import Final

TAG_MAX: Final = 128
DEPTH_MAX: Final = 50  # parentheses, NOT and OR inside each other
NAME_MAX: Final = 1000  # mailbox name on the wire
NAME_LEVELS_MAX: Final = 20
LIST_PATTERNS_MAX: Final = 20  # of one LIST
SPECIAL_USES_MAX: Final = 16  # attributes of one CREATE
QUOTA_RESOURCES_MAX: Final = 16  # of one SETQUOTA
APPEND_MESSAGES_MAX: Final = 256  # of one APPEND
KEYWORD_MAX: Final = 64
FLAGS_MAX: Final = 64  # flags named in one command
SEQUENCE_RANGES_MAX: Final = 20_000
SEARCH_KEYS_MAX: Final = 1_000
SEARCH_STRING_MAX: Final = 1_000
SORT_KEYS_MAX: Final = 20
FETCH_ITEMS_MAX: Final = 100
FETCH_FIELDS_MAX: Final = 200  # names in one HEADER.FIELDS list
FETCH_PART_LEVELS_MAX: Final = 50
FIELD_NAME_MAX: Final = 256
ID_PAIRS_MAX: Final = 30  # RFC 2971 section 3.3
ID_NAME_MAX: Final = 30
ID_VALUE_MAX: Final = 1024
ENABLE_MAX: Final = 32
LITERAL_MINUS_MAX: Final = 4096  # RFC 7888 section 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one receiver accepts; each value may be lowered or raised by the configuration.

    line_*: text of one command with its line ends, literals not counted. literals_*: literals of one command together,
    the message of APPEND not counted. drain_*: octets read and dropped of a refused command before the connection ends.
    bad_before_login: refused commands in all; bad_in_row: refused commands after login without a good one between.
    """

    line_before_login: int = 36 * 1024  # ID may have 30 pairs of 30 and 1,024 octets
    line: int = 64 * 1024
    literals_before_login: int = 4 * 1024
    literals: int = 64 * 1024
    append: int = 64 * 1024 * 1024
    drain_before_login: int = 64 * 1024
    drain: int = 128 * 1024 * 1024
    chunk: int = 64 * 1024
    bad_before_login: int = 10
    bad_in_row: int = 50
    literal_minus: bool = False  # RFC 7888: True offers LITERAL- and refuses non-synchronizing literals over 4096
