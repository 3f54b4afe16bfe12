"""A peer and its buckets: `locked` has object lock, `open` has none."""

import importlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.bucket.peer import Peer, Proxy

from bulkhead.bucket.target import Bucket, BucketTarget


@dataclass(frozen=True, slots=True)
class Storage:
    """The peer, a proxy before it, and how a bucket there is reached."""

    peer: Peer
    proxy: Proxy
    bucket: Bucket
    ca_file: Path
    client: Any

    def target(self, prefix: str, **changed: Any) -> BucketTarget:
        return BucketTarget(replace(self.bucket, prefix=f"{prefix}/", **changed))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 by its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def make_locked_bucket(peer: Peer, name: str) -> Any:
    """Make a bucket with object lock; a client of the peer."""
    client = importlib.import_module("botocore.session").Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{peer.http}",
        aws_access_key_id="access", aws_secret_access_key="secret",
    )  # fmt: skip
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return client


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    ca_file, key = certificate(tmp_path_factory.mktemp("tls"))
    peer = Peer(ca_file, key)
    proxy = Proxy(peer.http)
    bucket = Bucket("locked", "", f"http://127.0.0.1:{proxy.port}", "us-east-1", "access", "secret", part_bytes=5 << 20)
    client = make_locked_bucket(peer, "locked")
    client.create_bucket(Bucket="open")
    try:
        yield Storage(peer, proxy, bucket, ca_file, client)
    finally:
        proxy.close()
        peer.close()
