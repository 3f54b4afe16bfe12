"""From a request's method and target to a call and its values: exact paths, decoded once, nothing guessed. PURE."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from bulkhead.console.answers import ADDRESS_MAX, Value
from bulkhead.console.problem import CallError

QUERY_FIELDS_MAX = 16
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Routed(Protocol):
    """What a path leads to."""

    @property
    def method(self) -> str:
        """GET, POST, PUT or DELETE."""

    @property
    def path(self) -> str:
        """With parameters in braces."""


R = TypeVar("R", bound=Routed)


class Router(Generic[R]):
    """Finds by number of segments and their text; two rows of one form and method are our bug."""

    def __init__(self, rows: Iterable[R]) -> None:
        self._rows: dict[int, list[tuple[tuple[str, ...], R]]] = {}
        for row in rows:
            parts = tuple(row.path.split("/")[1:])
            self._rows.setdefault(len(parts), []).append((parts, row))

    def find(self, method: str, path: str) -> tuple[R, Mapping[str, str]]:
        """The row and the parameters of its path. Raises CallError: 404, 405."""
        segments = path.split("/")[1:]
        allowed = set()
        for parts, row in self._rows.get(len(segments), ()):
            if all(part.startswith("{") or part == segment for part, segment in zip(parts, segments, strict=True)):
                if row.method == method:
                    named = zip(parts, segments, strict=True)
                    return row, {part[1:-1]: path_text(text) for part, text in named if part.startswith("{")}
                allowed.add(row.method)
        if allowed:
            raise MethodNotAllowed(sorted(allowed))
        raise CallError(404, "there is no such path; GET /v1/openapi.json lists them", "no-such-path")


class MethodNotAllowed(CallError):
    """The path is there. allowed: its methods."""

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(405, f"this path takes {', '.join(allowed)}", "no-such-method")
        self.allowed = allowed


def path_text(segment: str) -> str:
    """A decoded segment. Raises CallError."""
    try:
        if _ESCAPE.search(segment):
            raise ValueError("escape")
        text = unquote(segment, errors="strict")
    except ValueError:
        raise CallError(400, "a path is UTF-8 with escapes of two digits (RFC 3986 section 2.1)", "bad-path") from None
    if not text or len(text) > ADDRESS_MAX or not text.isprintable():
        raise CallError(400, f"a parameter of the path is 1 to {ADDRESS_MAX} printable characters", "bad-path")
    return text


def query_of(kind: type[Value], query: str) -> Value:
    """The query's values. Raises CallError on one that is unknown, doubled or out of its limits."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
        names = dict(pairs)
        if len(names) != len(pairs) or _ESCAPE.search(query):
            raise ValueError("a parameter came twice")
        return msgspec.convert(names, kind, strict=False)
    except (ValueError, msgspec.ValidationError) as error:
        words = str(error) if isinstance(error, msgspec.ValidationError) else "not a query of this call"
        raise CallError(400, f"query: {words}", "bad-query") from None


def body_of(kind: type[Value], body: bytes, media: str) -> Value:
    """The body's values. Raises CallError."""
    if media.partition(";")[0].strip().lower() != "application/json":
        raise CallError(415, "a body is application/json", "bad-media-type")
    try:
        value: Any = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
        raise CallError(400, f"body: {words}", "bad-body") from None
    return value  # type: ignore[no-any-return]  # of `kind`


def converted(kind: type[Value], content: Any) -> Value:
    """A value of this form, of what JSON was decoded to. Raises CallError."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise CallError(400, f"body: {error}", "bad-body") from None
