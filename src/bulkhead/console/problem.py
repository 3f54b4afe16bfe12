"""What goes wrong, as problem details (RFC 9457): one status for each code of a refusal."""

from collections.abc import Mapping

import msgspec

from bulkhead.console.answers import Problem
from bulkhead.console.http import HttpError
from bulkhead.errors import Error, IntegrityError, PeerError, Refused, TemporaryFailure

MEDIA_TYPE = "application/problem+json"
TITLES: Mapping[int, str] = {
    400: "Bad request", 401: "Not authenticated", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 413: "Too large", 414: "Target too long", 415: "Unsupported media type", 421: "Misdirected",
    422: "Not acceptable content", 429: "Too many", 431: "Header fields too large", 500: "Our fault",
    501: "Not implemented", 503: "Not now", 505: "Version not supported",
}  # fmt: skip
_NO_SESSION = (
    "no-session", "other-tenant", "other-audience", "bad-nonce", "not-yet", "expired", "too-long", "unknown-officer",
    "unknown-key", "other-role", "bad-signature", "no-roster", "other-challenge", "other-origin", "other-party",
    "user-not-verified", "passkey-counter",
)  # fmt: skip
_NOT_THERE = (
    "no-such-address", "no-such-domain", "no-such-group", "no-such-class", "no-such-entry", "no-such-account",
    "no-such-case", "no-case", "no-such-file",
)  # fmt: skip
STATUS_OF: Mapping[str, int] = {
    **dict.fromkeys(_NO_SESSION, 401),
    "role": 403,
    "order-required": 403,
    **dict.fromkeys(_NOT_THERE, 404),
    **dict.fromkeys(("no-rehearsal", "bad-cursor", "not-hosted", "bad-search"), 400),
    **dict.fromkeys(("key-reused", "bad-consent"), 422),
    **dict.fromkeys(("search-cap", "change-cap", "call-cap", "case-cap", "look-cap"), 429),
}  # fmt: skip
RETRY_SECONDS = {429: "60", 503: "2"}


class CallError(Error):
    """A call that the console itself refuses, with its status."""

    def __init__(self, status: int, public: str, code: str) -> None:
        super().__init__(public, code=code)
        self.status = status


def problem_of(error: Error) -> Problem:
    """What a client is told of it."""
    if isinstance(error, CallError | HttpError):
        status = error.status
    elif isinstance(error, TemporaryFailure):
        status = 503
    elif isinstance(error, IntegrityError):
        status = 422
    elif isinstance(error, PeerError):
        status = 400
    else:
        status = STATUS_OF.get(error.code, 409) if isinstance(error, Refused) else 500
    detail = error.public if status != 500 else "see the cell's log"
    return Problem(f"urn:bulkhead:problem:{error.code}", TITLES.get(status, "Problem"), status, detail, error.code)


def problem_fields(problem: Problem) -> list[tuple[str, str]]:
    """Header fields of the answer."""
    fields = [("content-type", MEDIA_TYPE)]
    if problem.status == 401:
        fields.append(("www-authenticate", 'Bearer realm="bulkhead"'))
    if problem.status in RETRY_SECONDS:
        fields.append(("retry-after", RETRY_SECONDS[problem.status]))
    return fields


def encode_problem(problem: Problem) -> bytes:
    """Its octets."""
    return msgspec.json.encode(problem)
