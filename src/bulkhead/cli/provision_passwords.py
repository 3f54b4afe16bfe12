"""`provision passwords|letters`: first passwords for the accounts of a provisioning file, made where the partner is.

No installation is needed. What is signed and carried knows each password by a digest with 16 random octets in it; what
opens it goes to `auth` alone (the file of secrets: digests of passwords, no password); the passwords themselves lie in
the letters, which the partner's recovery key opens.
"""

import argparse
import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bulkhead import __version__
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.cli.output import printable, say
from bulkhead.cli.provision_file import file_lines, plan_of
from bulkhead.cli.recovery import read_partner_key
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, PeerError
from bulkhead.exports.letters import page_of, read_letters, sealer_of
from bulkhead.exports.sealed import open_new
from bulkhead.identifiers import TenantId, parse_address, parse_tenant_id
from bulkhead.imports.digest_text import DIGEST_TEXT_MAX, parse_password
from bulkhead.records.hpke import load_public_key
from bulkhead.records.legacy import Recipe, Scheme
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.mailbox import RecoveryKey
from bulkhead.records.provision import LINE_MAX, LINES_MAX, password_name

NONCE_BYTES, SALT_BYTES = 16, 16
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: they are read as others (Crockford's base 32)
GROUPS = (5, 5, 5, 5, 6)  # 26 characters of 5 bits: 130 random bits
PAGE_ROWS = 1000
SECRET_LINE_MAX = 2048  # octets


@dataclass(slots=True)
class _Made:
    """A first password on its way. typed: what the subscriber is told; empty where somebody else told him."""

    password: FirstPassword
    typed: str = field(default="", repr=False)


def passwords(options: argparse.Namespace) -> int:
    """Write the file again, with a first password for every account that it makes; the file of secrets; letters."""
    tenant, source = parse_tenant_id(options.tenant), Path(options.file)
    if bool(options.digests) is bool(options.letters) or bool(options.letters) is not bool(options.partner):
        raise ConfigError("give --digests FILE, or --letters FILE with --partner KEY (pinned.recovery_partner)")
    plan = plan_of(source, str(tenant), parse=True)
    if plan.refused:
        raise ConfigError(f"{plan.refused} lines would be refused: provision check {tenant} {source}")
    outputs = [Path(name) for name in (options.letters, options.secrets, options.to) if name]
    for path in outputs:
        if path.exists():
            raise ConfigError(f"{path} exists already; it is left as it is")
    digests = _read_digests(Path(options.digests)) if options.digests else None
    count = _write(source, outputs, tenant, options.partner, digests)
    for path in outputs:  # the file that is signed comes last: without it none of the others is anything
        path.with_name(path.name + ".new").rename(path)
        sync_folder(path.parent)
    say(f"{options.to}: {count} accounts get a first password; next: bulkhead provision sign {tenant} {options.to}")
    return 0


def letters(options: argparse.Namespace) -> int:
    """Print addresses and passwords, with a tab between."""
    tenant = parse_tenant_id(options.tenant)
    key = read_partner_key(Path(options.partner_key), tenant)
    for address, password in read_letters(Path(options.file), tenant, key):
        print(f"{printable(address)}\t{password}")
    return 0


def new_password() -> str:
    """130 random bits, to be typed from paper."""
    characters = iter("".join(secrets.choice(ALPHABET) for _ in range(sum(GROUPS))))
    return "-".join("".join(next(characters) for _ in range(size)) for size in GROUPS)


def read_secrets(path: Path) -> Iterator[tuple[bytes, FirstPassword]]:
    """Names and passwords of a file of secrets, in order. Raises ConfigError."""
    with path.open("rb") as stream:
        while line := stream.readline(SECRET_LINE_MAX):
            try:
                row = json.loads(line)
                octets = [base64.b64decode(row[name], validate=True) for name in ("nonce", "salt", "digest")]
                password = FirstPassword(octets[0], str(row["scheme"]), octets[1], octets[2])
            except (ValueError, KeyError, TypeError):
                raise ConfigError(f"{path} is no file of secrets of `provision passwords`") from None
            yield password_name(password.nonce, password.scheme, password.salt, password.digest), password


def _write(source: Path, outputs: list[Path], tenant: TenantId, partner: str, digests: dict[str, _Made] | None) -> int:
    """Every output, under its name and .new; for how many accounts."""
    files: list[IO[bytes]] = [_opened(path) for path in outputs]
    target, secret = files[-1], files[-2]
    sealed = _Letters(files[0], tenant, partner) if digests is None else None
    count = 0
    try:
        with source.open("rb") as stream:
            for number, octets in enumerate(file_lines(stream), 1):
                row = json.loads(octets)
                made = _make(row, digests) if row["do"] == "add-account" and "password" not in row else None
                if made is not None:
                    count += 1
                    one = made.password
                    name = password_name(one.nonce, one.scheme, one.salt, one.digest)
                    line = json.dumps({**row, "password": name.hex()}, ensure_ascii=False).encode() + b"\n"
                    if len(line) > LINE_MAX + 1:
                        raise ConfigError(f"line {number} has no room for a first password")
                    secret.write(_secret_line(one))
                    if sealed is not None:
                        sealed.add(str(row["address"]), made.typed)
                target.write(octets if made is None else line)
        if sealed is not None:
            sealed.end()
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files:
            file.close()
    return count


def _opened(path: Path) -> IO[bytes]:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    return open_new(new)


def _make(row: dict[str, Any], digests: dict[str, _Made] | None) -> _Made | None:
    """The first password of a new account; None: its digest was not given."""
    if digests is not None:
        return digests.get(parse_address(row["address"]).key)
    typed = new_password()
    recipe = Recipe(Scheme.SHA512, secrets.token_bytes(SALT_BYTES))
    return _Made(_of(recipe, legacy_digest(recipe, typed.encode())), typed)


def _of(recipe: Recipe, digest: bytes) -> FirstPassword:
    legacy = recipe.legacy()
    return FirstPassword(secrets.token_bytes(NONCE_BYTES), legacy.scheme, legacy.salt, digest)


def _read_digests(path: Path) -> dict[str, _Made]:
    """ADDRESS, tab, digest as other servers write it ({SSHA512}..., $6$..., $2b$..., $argon2id$...), by address."""
    found: dict[str, _Made] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(2 * DIGEST_TEXT_MAX), b""), 1):
            address, tab, text = line.decode("utf-8", "replace").rstrip("\r\n").partition("\t")
            try:
                if not tab:
                    raise PeerError("is not an address, a tab and a digest")
                imported = parse_password(text, clear=False)
                if imported.recipe is None:
                    raise PeerError("has a password in clear, which is given by letters")
                found[parse_address(address).key] = _Made(_of(imported.recipe, imported.octets))
            except PeerError as error:
                raise ConfigError(f"{path}: line {number} {error.public}") from None
            if len(found) > LINES_MAX:
                raise ConfigError(f"{path} has more than {LINES_MAX} addresses: cut it, as the file is cut")
    return found


def _secret_line(one: FirstPassword) -> bytes:
    octets = {"nonce": one.nonce, "salt": one.salt, "digest": one.digest}
    row = {"scheme": one.scheme} | {name: base64.b64encode(value).decode() for name, value in octets.items()}
    return json.dumps(row).encode() + b"\n"


class _Letters:
    """Pages of letters, sealed as they fill."""

    def __init__(self, file: IO[bytes], tenant: TenantId, partner: str) -> None:
        try:
            key = RecoveryKey(1, load_public_key(base64.b64decode(partner, validate=True)))
        except ValueError:
            raise ConfigError("--partner is the tenant's pinned.recovery_partner: base64 of 32 octets") from None
        self._file, self._sealer = file, sealer_of(tenant, key, int(time.time() * 1000), __version__)
        self._waiting: list[tuple[str, str]] = []
        self._pages = 0
        file.write(self._sealer.begin())

    def add(self, address: str, password: str) -> None:
        """One more."""
        self._waiting.append((address, password))
        if len(self._waiting) == PAGE_ROWS:
            self._flush()

    def end(self) -> None:
        """No more."""
        if self._waiting:
            self._flush()
        for piece in self._sealer.end():
            self._file.write(piece)

    def _flush(self) -> None:
        octets, self._pages = page_of(self._waiting), self._pages + 1
        for piece in (*self._sealer.file(f"page-{self._pages}", len(octets)), *self._sealer.update(octets)):
            self._file.write(piece)
        self._waiting = []
