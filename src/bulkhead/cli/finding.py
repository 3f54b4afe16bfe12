"""What `doctor` says of one matter."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a matter stands."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Finding:
    """One matter looked at. tenant: empty for the installation's own."""

    tenant: str
    matter: str
    state: State
    text: str
    advice: str = ""
