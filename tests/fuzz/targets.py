"""HARNESSES: every fuzz target by name."""

from tests.fuzz.harness import Harness
from tests.fuzz.holders import HOLDERS
from tests.fuzz.imports import IMPORTS
from tests.fuzz.messages import MESSAGES
from tests.fuzz.protocols import PROTOCOLS

HARNESSES: dict[str, Harness] = {harness.name: harness for harness in (*PROTOCOLS, *MESSAGES, *HOLDERS, *IMPORTS)}
