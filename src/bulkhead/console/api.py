"""What a request comes to: who asks, which call, its answer or its problem. No sockets here.

Order: path, session, role, idempotency key, values, call. So a request without a session learns nothing but that.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.staff import OpenStaffSessionBase, StaffSession
from bulkhead.boundary.messages.to_directory import ShowStaffSession
from bulkhead.boundary.staff import ANSWERERS, EXECUTORS
from bulkhead.console import answers as a
from bulkhead.console.calls import CALLS, Call
from bulkhead.console.http import HttpRequest
from bulkhead.console.openapi import BULK, OWN_CALLS, OwnCall, document
from bulkhead.console.problem import CallError, encode_problem, problem_fields, problem_of
from bulkhead.console.routing import MethodNotAllowed, Router, body_of, converted, query_of
from bulkhead.console.staffed import CALL_SECONDS, Staffed, open_at
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.records.canonical import base64_text, require_base64
from bulkhead.records.officer import Role
from bulkhead.records.staff import Bearer, StaffStatement, parse_bearer, staff_challenge

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
KEY_MAX = 128  # characters of an idempotency key
_log = logging.getLogger("bulkhead.console")
Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, header fields and body."""

    status: int
    fields: Fields
    body: bytes = field(repr=False)


class Api:
    """Of one console process. hosts: names under which it answers."""

    def __init__(self, exchange: Exchange, tenant: str, name: str) -> None:
        self._exchange, self._tenant, self._name = exchange, tenant, name
        self._router: Router[Call | OwnCall] = Router([*CALLS.values(), *OWN_CALLS.values()])
        self._document = document()
        self._own: Mapping[str, Callable[[HttpRequest, Any], Any]] = {
            "health": self._health, "openapi": self._openapi, "nonces": self._nonces, "challenge": self._challenge,
            "openSession": self._open_session,
            "showSession": self._show_session, "endSession": self._end_session, "bulk": self._bulk,
        }  # fmt: skip

    async def answer(self, request: HttpRequest, local_address: str) -> HttpAnswer:
        """To any request whatever; nothing is raised but cancellation."""
        try:
            self._check_host(request.host, local_address)
            row, path = self._router.find(request.method, request.path)
            if isinstance(row, OwnCall):
                value = await self._answer_own(row, request)
            else:
                value = await self._answer_call(row, path, request)
        except Error as error:
            return problem_answer(error)
        except ValueError as error:  # a value that passed our limits and not a message's: our bug, and the client's end
            log_fault(f"fault in {request.method} of a call", error)
            return problem_answer(CallError(500, "", "fault"))
        if isinstance(value, a.Exposition):
            return HttpAnswer(200, [("content-type", EXPOSITION)], value.text.encode())
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return HttpAnswer(200, [("content-type", "application/json")], body)

    def _check_host(self, host: str, local_address: str) -> None:
        """A name that another site had resolved to us is not answered (DNS rebinding)."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        if name.lower() not in (self._name, local_address, f"[{local_address}]"):
            raise CallError(421, "this is not that host", "other-host")

    # --- calls under a session ---------------------------------------------------------------------------------------

    async def _answer_call(self, row: Call, path: Mapping[str, str], request: HttpRequest) -> a.Value:
        bearer, session = await self._session(request)
        if session.role not in row.roles:
            raise Refused(f"a {session.role} may not make this call", code="role")
        key = self._key(request) if row.change else ""
        query = query_of(row.query, request.query)
        body = self._body(row.body, request)
        rehearse = isinstance(query, a.Rehearsal) and query.dry_run
        opening = bearer if bearer.approval else None
        staff = Staffed(self._exchange, self._tenant, bearer.token, session, key, rehearse=rehearse, opening=opening)
        return await row.work(staff, path, query, body)

    async def _session(self, request: HttpRequest) -> tuple[Bearer, StaffSession]:
        """What the call bears, and whose session directory knows by it. Raises Refused (`no-session`)."""
        scheme, _, text = request.fields.get("authorization", "").partition(" ")
        try:
            bearer = parse_bearer(text if scheme.lower() == "bearer" else "")
        except IntegrityError:
            raise Refused("a call bears the token of a staff session: POST /v1/sessions", code="no-session") from None
        shown, directory = ShowStaffSession(bearer.token), self._exchange.to("directory")
        try:
            return bearer, await directory.call(shown, timeout=CALL_SECONDS)
        except Refused:
            await open_at(self._exchange, "directory", bearer)
            return bearer, await directory.call(shown, timeout=CALL_SECONDS)

    def _key(self, request: HttpRequest) -> str:
        key = request.fields.get("idempotency-key", "")
        if not 1 <= len(key) <= KEY_MAX or not key.isprintable() or not key.isascii():
            raise CallError(
                400, f"a change has an Idempotency-Key of 1 to {KEY_MAX} printable characters", "no-idempotency-key"
            )
        return key

    def _body(self, kind: type[a.Value] | None, request: HttpRequest) -> a.Value | None:
        if kind is not None:
            return body_of(kind, request.body, request.fields.get("content-type", ""))
        if request.body:
            raise CallError(400, "this call has no body", "unexpected-body")
        return None

    # --- the console's own calls -------------------------------------------------------------------------------------

    async def _answer_own(self, row: OwnCall, request: HttpRequest) -> Any:
        session = await self._session(request) if row.session else None
        if row is BULK:
            self._key(request)
        query_of(row.query, request.query)
        body = self._body(row.body, request)
        return await self._own[row.name](request, body if session is None else (session, body))

    async def _health(self, _: HttpRequest, __: None) -> a.Health:
        return a.Health()

    async def _openapi(self, _: HttpRequest, __: None) -> bytes:
        return self._document

    async def _nonces(self, _: HttpRequest, __: None) -> a.Nonces:
        """Of the holders that are there."""
        nonces = await self._ask_nonces()
        return a.Nonces(self._tenant, self._name, {holder: nonce.hex() for holder, nonce in nonces.items()})

    async def _challenge(self, _: HttpRequest, body: a.ChallengeBody) -> a.Challenge:
        """A statement as the command line makes one; whoever has it signed looks at it, and each holder does."""
        nonces, now = await self._ask_nonces(), time.time_ns() // 1_000_000
        token = bytes.fromhex(body.token)
        try:
            statement = StaffStatement(
                TenantId(self._tenant), self._name, body.officer, Role(body.role), nonces, token, now,
                now + body.seconds * 1000,
            ).encode()  # fmt: skip
        except ValueError:
            raise CallError(400, "body: no officer has that name", "bad-body") from None
        return a.Challenge(base64_text(statement), staff_challenge(statement), list(nonces))

    async def _ask_nonces(self) -> dict[str, bytes]:
        async def ask(holder: str) -> bytes:
            try:
                given = await self._exchange.to(holder).call(RECEIVERS[holder].GiveStaffNonce(), timeout=CALL_SECONDS)
            except Error:
                return b""
            return cast("bytes", given.nonce)

        found = zip(EXECUTORS, await asyncio.gather(*map(ask, EXECUTORS)), strict=True)
        return {holder: nonce for holder, nonce in found if nonce}

    async def _open_session(self, _: HttpRequest, body: a.OpenSession) -> a.SessionAnswer:
        """At every holder, directory first: without it no call is possible."""
        statement = require_base64(body.statement, "statement", 4096)
        signature = require_base64(body.signature, "signature", 128)
        if len(statement) < 2 or not signature:
            raise CallError(400, "a statement and a signature are not empty", "bad-body")
        approval = SignedApproval(
            body.officer, bytes.fromhex(body.key), signature,
            require_base64(body.client_data, "client_data"), require_base64(body.authenticator_data, "data", 256),
        )  # fmt: skip

        async def open_at(holder: str) -> StaffSession:
            request: OpenStaffSessionBase = RECEIVERS[holder].OpenStaffSession(
                Stamp.fresh("staff", CALL_SECONDS), statement, approval
            )
            return await self._exchange.to(holder).call(request, timeout=CALL_SECONDS)

        first = await open_at("directory")
        others = [holder for holder in EXECUTORS if holder != "directory"]
        opened = await asyncio.gather(*map(open_at, others), return_exceptions=True)
        holders = ["directory"]
        for holder, outcome in zip(others, opened, strict=True):
            if isinstance(outcome, Error):
                _log.warning("%s opened no staff session: %s", holder, outcome.code)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                holders.append(holder)
        return a.SessionAnswer(first.officer, first.role, first.expires, first.rows, holders)

    async def _show_session(self, _: HttpRequest, given: tuple[tuple[Bearer, StaffSession], None]) -> a.SessionAnswer:
        session = given[0][1]
        return a.SessionAnswer(session.officer, session.role, session.expires, session.rows, [])

    async def _end_session(self, _: HttpRequest, given: tuple[tuple[Bearer, StaffSession], None]) -> a.Done:
        """At every holder; one that is away forgets it when it restarts."""
        token = given[0][0].token

        async def end_at(holder: str) -> None:
            request = RECEIVERS[holder].EndStaffSession(Stamp.fresh("staff", CALL_SECONDS), token)
            await self._exchange.to(holder).call(request, timeout=CALL_SECONDS)

        outcomes = await asyncio.gather(*map(end_at, ANSWERERS), return_exceptions=True)
        if any(isinstance(outcome, BaseException) for outcome in outcomes):
            raise TemporaryFailure("a holder did not answer: end the session again", code="temporary")
        return a.Done()

    async def _bulk(self, request: HttpRequest, given: tuple[tuple[Bearer, StaffSession], a.BulkBody]) -> a.BulkAnswer:
        """One operation after the other, each under the call's key and its own index."""
        (bearer, session), body = given
        rehearse = cast("a.Rehearsal", query_of(a.Rehearsal, request.query)).dry_run
        staff = Staffed(self._exchange, self._tenant, bearer.token, session, self._key(request), rehearse=rehearse)
        results = []
        for index, operation in enumerate(body.operations):
            results.append(await self._operate(staff.of_operation(index), index, operation))
        return a.BulkAnswer(results, sum(result.status >= 400 for result in results))

    async def _operate(self, staff: Staffed, index: int, operation: a.Operation) -> a.Result:
        try:
            row = CALLS.get(operation.call)
            if row is None or not row.bulk:
                raise CallError(400, "no such call, or none that a bulk call may make", "no-such-call")
            if staff.session.role not in row.roles:
                raise Refused(f"a {staff.session.role} may not make this call", code="role")
            if set(operation.path) != set(row.parameters):
                raise CallError(400, f"path has exactly: {', '.join(row.parameters) or 'nothing'}", "bad-path")
            content = None if row.body is None else converted(row.body, operation.body)
            if row.body is None and operation.body is not None:
                raise CallError(400, "this call has no body", "unexpected-body")
            value = await row.work(staff, operation.path, a.Rehearsal(staff.rehearse), content)
        except Error as error:
            problem = problem_of(error)
            return a.Result(index, problem.status, msgspec.Raw(encode_problem(problem)))
        except ValueError as error:
            log_fault("fault in an operation of a bulk call", error)
            problem = problem_of(CallError(500, "", "fault"))
            return a.Result(index, 500, msgspec.Raw(encode_problem(problem)))
        return a.Result(index, 200, msgspec.Raw(msgspec.json.encode(value)))


def problem_answer(error: Error) -> HttpAnswer:
    """The answer that a problem is."""
    problem = problem_of(error)
    fields = problem_fields(problem)
    if isinstance(error, MethodNotAllowed):
        fields.append(("allow", ", ".join(error.allowed)))
    return HttpAnswer(problem.status, fields, encode_problem(problem))
