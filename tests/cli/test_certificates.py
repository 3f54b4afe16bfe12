"""Certificates: clients accept them under their own name and address, and under no other."""

import ssl
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bulkhead.cli.certificates import (
    CA_DAYS,
    SERVER_DAYS,
    Authority,
    expiry,
    gate_file,
    issue,
    make_ca,
    read_ca,
    write_ca,
    write_gates,
)
from bulkhead.config import load_installation, render_installation, render_tenant, write_file
from bulkhead.errors import ConfigError

NOW = datetime.now(UTC).replace(microsecond=0)
NAME = "imap.kddi.example"


@pytest.fixture(scope="module")
def ca() -> Authority:
    return make_ca("Bulkhead demo CA", now=NOW)


def handshake(ca: Authority, pem: Path, name: str) -> None:
    """One TLS handshake in memory, the client trusting `ca` alone. Raises ssl.SSLError."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pem)
    client_context = ssl.create_default_context(cadata=ca.pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


def written(directory: Path, text: str) -> Path:
    path = directory / "gate.pem"
    write_file(path, text, mode=0o400)
    return path


@pytest.mark.parametrize("name", [NAME, "127.0.1.1", "2001:db8::1"])
def test_a_client_accepts_the_names_and_addresses_of_the_certificate(tmp_path: Path, ca: Authority, name: str) -> None:
    handshake(ca, written(tmp_path, issue(ca, [NAME], ["127.0.1.1", "2001:db8::1"], now=NOW)), name)


@pytest.mark.parametrize("name", ["smtp.kddi.example", "kddi.example", "a.imap.kddi.example", "127.0.1.2"])
def test_a_client_refuses_every_other_name(tmp_path: Path, ca: Authority, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca, written(tmp_path, issue(ca, [NAME], ["127.0.1.1"], now=NOW)), name)


def test_a_client_refuses_another_authority_of_the_same_name(tmp_path: Path, ca: Authority) -> None:
    other = make_ca("Bulkhead demo CA", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca, written(tmp_path, issue(other, [NAME], [], now=NOW)), NAME)


def test_a_client_refuses_an_expired_certificate(tmp_path: Path, ca: Authority) -> None:
    text = issue(ca, [NAME], [], now=NOW - timedelta(days=SERVER_DAYS, seconds=1))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(ca, written(tmp_path, text), NAME)


def test_keys_are_p256_and_validity_is_as_said(tmp_path: Path, ca: Authority) -> None:
    path = written(tmp_path, issue(ca, [NAME], [], now=NOW))
    assert expiry(path) == NOW + timedelta(days=SERVER_DAYS)
    assert ca.certificate.not_valid_after_utc == NOW + timedelta(days=CA_DAYS)
    key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_no_certificate_outlives_its_authority(tmp_path: Path, ca: Authority) -> None:
    text = issue(ca, [NAME], [], now=NOW + timedelta(days=CA_DAYS - 1))
    assert expiry(written(tmp_path, text)) == ca.certificate.not_valid_after_utc


def test_a_name_too_long_for_a_common_name_still_works(tmp_path: Path, ca: Authority) -> None:
    name = "a" * 60 + ".kddi.example"
    path = written(tmp_path, issue(ca, [name], [], now=NOW))
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    handshake(ca, path, name)


def test_a_certificate_for_nothing_is_our_bug(ca: Authority) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        issue(ca, [], [], now=NOW)
    with pytest.raises(ValueError, match="1 to 100"):
        issue(ca, [f"a{number}.example" for number in range(101)], [], now=NOW)


def test_each_gate_has_its_own_key_and_only_its_own_name(tmp_path: Path, ca: Authority) -> None:
    write_file(tmp_path / "bulkhead.toml", render_installation({}))
    names = {"names.mx": "mx.kddi.example", "names.submit": "smtp.kddi.example", "names.access": NAME}
    names["names.console"] = "console.kddi.example"
    text = render_tenant({"id": "kddi", "slot": 0, "listen.address": "127.0.1.1", **names})
    write_file(tmp_path / "tenants" / "kddi.toml", text)
    tenant = load_installation(tmp_path).tenant("kddi")
    paths = write_gates(tmp_path, ca, tenant, now=NOW)
    assert paths == [gate_file(tmp_path, tenant.id, gate) for gate in ("mx", "submit", "access", "console")]
    certificates = [x509.load_pem_x509_certificate(path.read_bytes()) for path in paths]
    keys = [certificate.public_key() for certificate in certificates]
    assert all(keys.count(key) == 1 for key in keys)
    for certificate, name in zip(certificates, names.values(), strict=True):
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.DNSName) == [name]
        assert [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)] == ["127.0.1.1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o400}
    before = paths[0].read_bytes()
    write_gates(tmp_path, ca, tenant, now=NOW)
    assert paths[0].read_bytes() != before


def test_an_authority_comes_back_from_its_files_and_is_not_written_twice(tmp_path: Path, ca: Authority) -> None:
    assert write_ca(tmp_path, ca).name == "ca.pem"
    assert stat.S_IMODE((tmp_path / "tls" / "ca.key").stat().st_mode) == 0o400
    again = read_ca(tmp_path)
    assert again.certificate == ca.certificate
    handshake(ca, written(tmp_path, issue(again, [NAME], [], now=NOW)), NAME)
    with pytest.raises(ConfigError, match=r"ca\.key exists already"):
        write_ca(tmp_path, ca)


def test_wrong_authority_files_are_named(tmp_path: Path, ca: Authority) -> None:
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be read"):
        read_ca(tmp_path)
    write_ca(tmp_path, ca)
    key = tmp_path / "tls" / "ca.key"
    write_file(key, "not a key", replace=True)
    with pytest.raises(ConfigError, match=r"ca\.key holds no unencrypted PEM key"):
        read_ca(tmp_path)
    write_ca(tmp_path / "other", make_ca("other", now=NOW))
    write_file(key, (tmp_path / "other" / "tls" / "ca.key").read_text(), replace=True)
    with pytest.raises(ConfigError, match="is not the key of"):
        read_ca(tmp_path)
    write_file(tmp_path / "tls" / "ca.pem", "x" * 70_000, replace=True)
    with pytest.raises(ConfigError, match="larger than"):
        read_ca(tmp_path)


@pytest.mark.peer
def test_openssl_verifies_the_chain_strictly(tmp_path: Path, ca: Authority, needs_debian: Callable[[str], str]) -> None:
    openssl = needs_debian("openssl")
    (tmp_path / "ca.pem").write_text(ca.pem)
    path = written(tmp_path, issue(ca, [NAME], ["127.0.1.1"], now=NOW))
    common = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(tmp_path / "ca.pem")]
    for name, accepted in ((NAME, True), ("x.example", False)):
        done = subprocess.run(
            [*common, "-verify_hostname", name, str(path)], capture_output=True, timeout=30, check=False
        )
        assert (done.returncode == 0) is accepted, done.stderr
