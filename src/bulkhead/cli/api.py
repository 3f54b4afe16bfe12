"""`bulkhead api`: one call of the console's API, under a session of the officer whose key is given."""

import argparse
import json
import secrets
import ssl
import sys
from pathlib import Path

from bulkhead.cli.api_client import ApiClient
from bulkhead.cli.api_verify import verified_answer
from bulkhead.cli.certificates import CA_CERTIFICATE, FOLDER
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger_offline import public_key
from bulkhead.cli.officer import read_officer_key
from bulkhead.cli.output import say
from bulkhead.config import load_installation
from bulkhead.errors import ConfigError
from bulkhead.ledger.note import SignatureType

BODY_MAX = 1 << 20


def call(options: argparse.Namespace) -> int:
    """Open a session, call, end it; the answer's body goes to standard output."""
    tenant = load_installation(Path(options.directory)).tenant(options.tenant)
    port = tenant.settings.integer("listen.console")
    if not port:
        raise ConfigError("listen.console is 0: this tenant has no console")
    authority = Path(options.ca) if options.ca else Path(options.directory) / FOLDER / CA_CERTIFICATE
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{authority}: no certificates to verify the console by ({error}); name --ca") from None
    client = ApiClient(tenant.settings.text("listen.address"), port, tenant.settings.text("names.console"), context)
    data = _body(options.data)
    log_key = public_key(options.ledger_key, SignatureType.LOG) if options.ledger_key else None
    if log_key is not None and options.method != "GET":
        raise ConfigError("--ledger-key verifies what GET answers")
    try:
        client.open(read_officer_key(options))
        key = (options.idempotency_key or secrets.token_hex(16)) if options.method != "GET" else ""
        answer = client.call(options.method, options.path, key=key, data=data)
        differs = False
        if log_key is not None and answer.status == 200:
            found, differs = verified_answer(client, options.path, answer.body, log_key)
    finally:
        client.close()
    if log_key is not None and answer.status == 200:
        document = {"answer": answer.json(), "verified": found}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        if differs:
            say(f"{options.tenant}: the cell says otherwise than its ledger of: {', '.join(found['differ'])}")
        return ExitCode.FINDING if differs else ExitCode.OK
    sys.stdout.write(answer.body.decode("utf-8", "replace") + "\n")
    if answer.status == 503:
        return ExitCode.NOT_RUNNING
    if answer.status >= 400:
        say(f"{options.tenant}: {options.method} {options.path}: {answer.status}")
        return ExitCode.REFUSED
    return ExitCode.OK


def _body(name: str) -> bytes | None:
    """A file's octets; `-` is standard input. Raises ConfigError."""
    if not name:
        return None
    try:
        data = sys.stdin.buffer.read(BODY_MAX + 1) if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > BODY_MAX:
        raise ConfigError(f"{name}: a body has at most {BODY_MAX} octets")
    return data
