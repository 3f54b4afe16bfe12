"""Our own bugs, as they are logged: where and of what type, never with values, which may be passwords or mail."""

import logging
import traceback

FRAMES_MAX = 6
_log = logging.getLogger("bulkhead.fault")


def log_fault(what: str, error: BaseException) -> None:
    """Log that `what` failed by a bug of ours: the error's type and the last places it went through."""
    _log.error("%s: %s", what, fault_place(error))


def fault_place(error: BaseException) -> str:
    """Type and places of an exception, innermost first, without its text."""
    places = reversed(traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:])
    return f"{type(error).__name__} at " + " < ".join(f"{place.name}:{place.lineno}" for place in places)
