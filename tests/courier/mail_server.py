"""A small SMTP server on a loopback address, with a script of faults, made from wire.smtp.SmtpReceiver."""

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import TIMED_OUT, Limits, Reply
from bulkhead.wire.smtp_events import DataChunk, DataEnd, DataStart, Greeted, MailFrom, RcptTo, StartTls
from bulkhead.wire.smtp_states import Role


def server_context(folder: Path) -> ssl.SSLContext:
    """A context with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.far.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that the server accepted, or had when it died."""

    reverse_path: str
    recipients: tuple[str, ...]
    text: bytes
    tls: bool


class MailServer:
    """Accepts everything, but for what the script says."""

    def __init__(self) -> None:
        self.greeting: Reply | None = None  # instead of 220
        self.recipients: dict[str, Reply] = {}  # refused so
        self.message: Reply | None = None  # answer to the final dot
        self.deaths = 0  # connections that die after the final dot, without a reply
        self.tls: ssl.SSLContext | None = None
        self.breaks_handshake = False
        self.injects = b""  # sent in clear behind the 220 to STARTTLS
        self.silent_after_greeting = False
        self.farewells = 0  # MAIL commands answered 421
        self.limits = Limits()
        self.dsn = False
        self._writers: set[asyncio.StreamWriter] = set()
        self.without: frozenset[str] = frozenset()  # keywords that EHLO does not name
        self.taken: list[Taken] = []
        self.mails: list[MailFrom] = []
        self.rcpts: list[RcptTo] = []
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def open(self, address: str, port: int = 0) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, address, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def hang_up(self) -> None:
        """End every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._session(reader, writer)
        except (PeerError, OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _named(self, answer: bytes) -> bytes:
        lines = [line for line in answer.splitlines() if line[4:].split(b" ")[0].decode() not in self.without]
        last = len(lines) - 1
        return b"".join(b"250%b%b\r\n" % (b" " if at == last else b"-", line[4:]) for at, line in enumerate(lines))

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver = SmtpReceiver(
            parse_domain("mx.far.example"), Role.MX, tls_offered=self.tls is not None, dsn=self.dsn, limits=self.limits
        )
        tls = False
        reverse_path, recipients, text = "", [], b""  # type: tuple[str, list[str], bytes]
        if self.greeting is not None:
            writer.write(self.greeting.render())
            await writer.drain()
            return
        receiver.greet()
        writer.write(receiver.data_to_send())
        while not receiver.closed:
            data = await reader.read(65536)
            if not data:
                return
            receiver.receive_data(data)
            while (event := receiver.next_event()) is not None:
                match event:
                    case Greeted():
                        if self.silent_after_greeting:
                            await asyncio.sleep(3600)
                        receiver.accept_hello()
                        writer.write(self._named(receiver.data_to_send()))
                    case StartTls():
                        receiver.accept_tls()
                        writer.write(receiver.data_to_send() + self.injects)
                        await writer.drain()
                        if self.breaks_handshake:
                            writer.transport.abort()
                            return
                        assert self.tls is not None
                        await writer.start_tls(self.tls)
                        receiver.tls_established()
                        tls = True
                    case MailFrom():
                        self.mails.append(event)
                        reverse_path, recipients, text = str(event.reverse_path or ""), [], b""
                        if self.farewells:
                            self.farewells -= 1
                            receiver.reject(TIMED_OUT)
                        else:
                            receiver.accept_mail()
                    case RcptTo():
                        self.rcpts.append(event)
                        address = str(event.address)
                        if address in self.recipients:
                            receiver.reject(self.recipients[address])
                        else:
                            recipients.append(address)
                            receiver.accept_recipient()
                    case DataStart():
                        receiver.accept_data()
                    case DataChunk():
                        text += event.data
                    case DataEnd():
                        taken = Taken(reverse_path, tuple(recipients), text, tls)
                        if self.deaths:
                            self.deaths -= 1
                            self.taken.append(taken)
                            writer.transport.abort()
                            return
                        if self.message is not None:
                            receiver.reject(self.message)
                        else:
                            self.taken.append(taken)
                            receiver.accept_message()
            writer.write(receiver.data_to_send())
            await writer.drain()
