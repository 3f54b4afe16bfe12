"""The OpenAPI 3.1 document, made from CALLS and the types of their values, so that it tells what is served."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bulkhead import __version__
from bulkhead.boundary.staff import COLLECTOR, HOUR_CHANGES, HOUR_ROWS, STAFF_CALLS
from bulkhead.console import answers as a
from bulkhead.console.calls import CALLS, Call

_TEXT = (
    "The partner's staff speaks to its own cell. A session is opened by a statement that an officer of the roster "
    "signs; each holder verifies it by the roster that is pinned there. Changes take an Idempotency-Key, good for 10 "
    "minutes; what destroys or widens goes as a signed order alone."
)
_PROBLEMS: Mapping[str, str] = {
    "400": "Not a request of this call.", "401": "No session, or none that lives.", "403": "The role may not.",
    "404": "No such thing.", "409": "It cannot be done as things are.", "413": "The request is too large.",
    "421": "Another host's name.", "422": "Understood, and no.", "429": "A cap of the officer is used up.",
    "503": "A holder is not there now.",
}  # fmt: skip


_PATTERNS: Mapping[str, str] = {
    "case": "^[0-9a-f]{32}$", "class": "^[a-z0-9][a-z0-9-]{0,31}$", "root": "^[0-9a-f]{64}$",
    "chunk": "^(0|[1-9][0-9]{0,3})$",
}  # fmt: skip
"""Of parameters of paths that are no addresses."""


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call that the console answers itself, or that is about sessions. session: whether it needs one."""

    name: str
    method: str
    path: str
    sentence: str
    answer: type[a.Value] | None
    session: bool
    query: type[a.Value] = a.NoQuery
    body: type[a.Value] | None = None


BULK = OwnCall(
    "bulk", "POST", "/v1/bulk", "Up to 1,000 changes, one after the other, each with its own result. Sent again under "
    "the same key, what was done is answered and not done again.", a.BulkAnswer, True, a.Rehearsal, a.BulkBody,
)  # fmt: skip
_OWN = (
    OwnCall("health", "GET", "/v1/health", "Whether it answers.", a.Health, False),
    OwnCall("openapi", "GET", "/v1/openapi.json", "This document.", None, False),
    OwnCall("nonces", "GET", "/v1/nonces", "What a statement that opens a session names.", a.Nonces, False),
    OwnCall("challenge", "POST", "/v1/sessions/challenge", "A statement for a session of this kind, and what a passkey "
            "is asked for it. Look at the statement before the passkey is: it says who may do what until when.",
            a.Challenge, False, a.NoQuery, a.ChallengeBody),
    OwnCall("openSession", "POST", "/v1/sessions", "Open a staff session by a statement that an officer signed, or "
            "that the officer's passkey approved.", a.SessionAnswer, False, a.NoQuery, a.OpenSession),
    OwnCall("showSession", "GET", "/v1/session", "Whose session this is.", a.SessionAnswer, True),
    OwnCall("endSession", "DELETE", "/v1/session", "End it.", a.Done, True),
    BULK,
)  # fmt: skip
OWN_CALLS: Mapping[str, OwnCall] = {row.name: row for row in _OWN}


def document() -> bytes:
    """docs/openapi.json, as `GET /v1/openapi.json` answers it."""
    rows: list[Call | OwnCall] = [*OWN_CALLS.values(), *CALLS.values()]
    types = [kind for row in rows for kind in (row.query, row.body, row.answer) if kind is not None]
    _, schemas = msgspec.json.schema_components(
        (*dict.fromkeys(types), a.Problem), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schemas)
    used = {row.query.__name__ for row in rows} | {a.Exposition.__name__}
    components = {name: schema for name, schema in schemas.items() if name not in used}
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Bulkhead console", "version": __version__, "description": _TEXT, "license": {
                "name": "Apache-2.0", "identifier": "Apache-2.0"
            },
        },
        "servers": [{"url": "/"}],
        "x-hourly-rows": dict(HOUR_ROWS),
        "x-hourly-changes": HOUR_CHANGES,
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
            "responses": {code: _problem(sentence) for code, sentence in _PROBLEMS.items()},
        },
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def main(arguments: list[str]) -> int:
    """Write the document."""
    if len(arguments) != 1:
        print("usage: python -m bulkhead.console.openapi FILE", file=sys.stderr)
        return 2
    Path(arguments[0]).write_bytes(document())
    return 0


def _operation(row: Call | OwnCall, schemas: Mapping[str, Any]) -> dict[str, Any]:
    own = isinstance(row, OwnCall)
    change = row is BULK or (isinstance(row, Call) and row.change)
    operation: dict[str, Any] = {"operationId": row.name, "summary": row.sentence}
    parameters = [*_path_parameters(row), *_query_parameters(schemas[row.query.__name__])]
    if change:
        parameters.append(
            {
                "name": "Idempotency-Key", "in": "header", "required": True,
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
            }
        )  # fmt: skip
    if parameters:
        operation["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": _reference(row.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    schema: dict[str, str] = {"type": "object"} if row.answer is None else _reference(row.answer)
    media = "application/json"
    if row.answer is a.Exposition:
        media, schema = "text/plain", {"type": "string"}
    good = {"description": "Done.", "content": {media: {"schema": schema}}}
    session = row.session if isinstance(row, OwnCall) else True
    codes = [code for code in _PROBLEMS if session or code not in ("403", "404", "429")]
    operation["responses"] = {"200": good, **{code: {"$ref": f"#/components/responses/{code}"} for code in codes}}
    operation["security"] = [{"session": []}] if session else []
    if isinstance(row, Call):
        operation["x-roles"] = list(row.roles)
        masked = {role for need in row.needs if need in STAFF_CALLS for role in STAFF_CALLS[need].masked}
        if masked:
            operation["x-masked"] = [role for role in row.roles if role in masked]
        operation["x-bulk"] = row.bulk
        operation["x-requests"] = [f"{holder}.{message}" for holder, message in row.needs]
    elif own and session:
        operation["x-roles"] = [role for role in HOUR_ROWS if role != COLLECTOR or row is not BULK]
    return operation


def _path_parameters(row: Call | OwnCall) -> Iterator[dict[str, Any]]:
    for part in row.path.split("/"):
        if part.startswith("{"):
            name = part[1:-1]
            schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": a.ADDRESS_MAX}
            if name in _PATTERNS:
                schema = {"type": "string", "pattern": _PATTERNS[name]}
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    required = schema.get("required", ())
    for name, value in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": value}


def _reference(kind: type[a.Value]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _problem(sentence: str) -> dict[str, Any]:
    return {
        "description": sentence,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
