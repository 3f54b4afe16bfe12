"""A client of the console's API: HTTPS, a session opened with an officer's key, calls. Standard library and records."""

import hashlib
import http.client
import json
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.records.canonical import base64_text
from bulkhead.records.officer import Role
from bulkhead.records.officer_file import OfficerPrivateKey
from bulkhead.records.staff import StaffStatement, sign_staff_statement

SECONDS = 30.0
SESSION_MS = 600_000


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """Status, header fields by lower-case name, body."""

    status: int
    fields: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body's value. Raises ValueError."""
        return json.loads(self.body)


class _Connection(http.client.HTTPSConnection):
    """To an address, whose certificate carries another name."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=SECONDS, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Shake hands."""
        sock = socket.create_connection((self._address, self.port), SECONDS)
        self.sock = self._tls.wrap_socket(sock, server_hostname=self.host)


class ApiClient:
    """One connection. token: of the session that open() began."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        self._connection = _Connection(address, port, name, context)
        self.token = ""

    def call(self, method: str, path: str, body: Any = None, *, key: str = "", data: bytes | None = None) -> ApiAnswer:
        """One call; body: a value that becomes JSON, or data as they are. Raises TemporaryFailure without an answer."""
        fields = {}
        if self.token:
            fields["Authorization"] = f"Bearer {self.token}"
        if key:
            fields["Idempotency-Key"] = key
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            fields["Content-Type"] = "application/json"
        return self.send(method, path, data, fields)

    def send(self, method: str, path: str, data: bytes | None, fields: Mapping[str, str]) -> ApiAnswer:
        """One request. Raises TemporaryFailure without an answer."""
        try:
            self._connection.request(method, path, data, dict(fields))
            answer = self._connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return ApiAnswer(answer.status, found, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TemporaryFailure(f"the console does not answer: {error}", code="no-console") from None

    def open(self, key: OfficerPrivateKey, *, life_ms: int = SESSION_MS) -> Any:
        """Open a session as this officer; what the console says of it. Raises Refused."""
        offered = _good(self.call("GET", "/v1/nonces"))
        secret, now = secrets.token_bytes(32), int(time.time() * 1000)
        statement = StaffStatement(
            TenantId(offered["tenant"]), offered["audience"], key.name, Role(key.role),
            {holder: bytes.fromhex(nonce) for holder, nonce in offered["nonces"].items()},
            hashlib.sha256(secret).digest(), now, now + life_ms,
        ).encode()  # fmt: skip
        approval = sign_staff_statement(statement, key.name, key.private_key)
        body = {
            "statement": base64_text(statement), "officer": key.name, "key": approval.key.hex(),
            "signature": base64_text(approval.signature),
        }  # fmt: skip
        opened = _good(self.call("POST", "/v1/sessions", body))
        self.token = secret.hex()
        return opened

    def close(self) -> None:
        """End the session, then the connection."""
        if self.token:
            try:
                self.call("DELETE", "/v1/session")
            except Error:
                pass
            self.token = ""
        self._connection.close()


def good_body(answer: ApiAnswer) -> bytes:
    """The body of an answer that is none of a problem. Raises Refused."""
    if answer.status != 200:
        value = answer.json()
        raise Refused(str(value.get("detail", "")), code=str(value.get("code", "refused")))
    return answer.body


def _good(answer: ApiAnswer) -> Any:
    return json.loads(good_body(answer))
