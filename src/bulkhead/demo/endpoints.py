"""Where a tenant's gates listen, and clients for them that trust the installation's own CA and no other."""

import contextlib
import imaplib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead.cli.certificates import CA_CERTIFICATE, FOLDER
from bulkhead.config import Installation, Tenant
from bulkhead.demo.people import Subscriber

CLIENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One tenant's address, ports and host names."""

    tenant: str
    title: str
    address: str
    mx: int
    submissions: int
    submission: int
    imaps: int
    pop3s: int
    smtp_name: str
    imap_name: str

    @classmethod
    def of(cls, tenant: Tenant) -> "Endpoint":
        """The endpoint that a tenant's settings describe."""
        settings = tenant.settings
        return cls(
            tenant=tenant.id,
            title=settings.text("name"),
            address=settings.text("listen.address"),
            mx=settings.integer("listen.mx"),
            submissions=settings.integer("listen.submissions"),
            submission=settings.integer("listen.submission"),
            imaps=settings.integer("listen.imaps"),
            pop3s=settings.integer("listen.pop3s"),
            smtp_name=settings.text("names.submit"),
            imap_name=settings.text("names.access"),
        )


def endpoints_of(installation: Installation) -> dict[str, Endpoint]:
    """Tenant to its endpoint."""
    return {str(tenant.id): Endpoint.of(tenant) for tenant in installation.tenants.values()}


def trust(directory: Path) -> ssl.SSLContext:
    """A client's context that trusts the installation's CA; certificates carry the tenant's IP address too."""
    return ssl.create_default_context(cafile=str(directory / FOLDER / CA_CERTIFICATE))


@contextlib.contextmanager
def submission(endpoint: Endpoint, context: ssl.SSLContext, who: Subscriber) -> Iterator[smtplib.SMTP]:
    """A logged-in submission client (TLS from the first byte). Raises smtplib.SMTPException, OSError."""
    client = smtplib.SMTP_SSL(endpoint.address, endpoint.submissions, timeout=CLIENT_SECONDS, context=context)
    with client:
        client.login(who.address, who.password)
        yield client


@contextlib.contextmanager
def mx(endpoint: Endpoint, hello: str) -> Iterator[smtplib.SMTP]:
    """A client of the MX port, as another provider's server is one."""
    with smtplib.SMTP(endpoint.address, endpoint.mx, local_hostname=hello, timeout=CLIENT_SECONDS) as client:
        yield client


@contextlib.contextmanager
def inbox(
    endpoint: Endpoint, context: ssl.SSLContext, who: Subscriber, *, readonly: bool = True
) -> Iterator[imaplib.IMAP4_SSL]:
    """A logged-in IMAP client with INBOX selected. Raises imaplib.IMAP4.error, OSError."""
    client = imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context, timeout=CLIENT_SECONDS)
    try:
        client.login(who.address, who.password)
        client.select("INBOX", readonly=readonly)
        yield client
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            client.logout()


def fetch_all(client: imaplib.IMAP4_SSL) -> list[bytes]:
    """Every message of the selected mailbox, whole."""
    _, answer = client.fetch("1:*", "(BODY.PEEK[])")
    return [bytes(item[1]) for item in answer if isinstance(item, tuple)]
