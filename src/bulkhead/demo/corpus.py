"""Mail of the demonstration: realistic, varied, the same for the same seed.

Every message is as a mailer hands it to its submission server: lines end in CRLF and have at most 998 octets, no NUL,
some with 8-bit octets. A few are malformed, since real mail is. People, texts and files are invented.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from bulkhead.demo import phrases
from bulkhead.demo.compose import (
    base64_body,
    broken_words,
    crlf,
    encode_iso2022jp,
    encoded_words,
    multipart,
    part,
    quoted_printable,
)
from bulkhead.wire.internet_date import message_date

FIRST_DATE = 1781967600  # 2026-06-21 00:00:00 +0900
ATTACHMENT_MAX = 220_000  # octets, about 300 KB in base64
TOKYO = 540  # minutes


@dataclass(frozen=True, slots=True)
class Letter:
    """What one message is made from."""

    random: Random
    sender: str
    recipients: Sequence[str]
    number: int
    date: int

    def boundary(self) -> str:
        return f"----=_Part_{self.number}_{self.random.getrandbits(48):012x}"

    def sentences(self, source: Sequence[str]) -> list[str]:
        return [self.random.choice(source) for _ in range(self.random.randint(2, 40))]

    def file(self) -> bytes:
        """The octets of an attachment: mostly a few KB, rarely hundreds."""
        size = min(ATTACHMENT_MAX, int(self.random.lognormvariate(9, 1.4)))
        return self.random.randbytes(size)

    def header(self, subject: bytes, content: str, *, name: bytes = b"", extra: bytes = b"") -> bytes:
        """The header with its empty line. content: the Content- fields, or "" for a message without MIME."""
        choose = self.random.choice
        domain = self.sender.rpartition("@")[2]
        author = b"%s <%s>" % (name, self.sender.encode()) if name else self.sender.encode()
        identifier = f"<{self.random.getrandbits(64):016x}.{self.number}@{domain}>"
        lines = [
            b"From: " + author,
            b"To: " + ",\r\n ".join(self.recipients).encode(),
            b"Subject: " + subject,
            b"Date: " + message_date(self.date, TOKYO),
            b"Message-ID: " + identifier.encode(),
            b"User-Agent: " + choose(phrases.AGENTS).encode(),
        ]
        if subject.startswith(b"Re:"):
            parent = b"<%016x@%s>" % (self.random.getrandbits(64), domain.encode())
            lines += [b"In-Reply-To: " + parent, b"References: " + parent]
        if content:
            lines += [b"MIME-Version: 1.0", content.replace("\n", "\r\n").encode()]
        return b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n"


def _english(letter: Letter) -> tuple[bytes, bytes]:
    """A subject and a name."""
    choose = letter.random.choice
    return choose(phrases.SUBJECTS_EN).encode(), choose(phrases.NAMES_EN).encode()


def _japanese(letter: Letter, charset: str = "utf-8") -> tuple[bytes, bytes]:
    choose = letter.random.choice
    return encoded_words(choose(phrases.SUBJECTS_JA), charset), encoded_words(choose(phrases.NAMES_JA), charset)


def plain(letter: Letter) -> bytes:
    """ASCII text without MIME."""
    subject, name = _english(letter)
    return letter.header(subject, "", name=name) + crlf(letter.sentences(phrases.SENTENCES_EN))


def eight_bit(letter: Letter) -> bytes:
    """UTF-8 text sent as it is."""
    subject, name = _japanese(letter)
    content = "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
    return letter.header(subject, content, name=name) + crlf(letter.sentences(phrases.SENTENCES_JA))


def base64_text(letter: Letter) -> bytes:
    """UTF-8 text in base64; the subject's words break within characters."""
    content = 'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: base64'
    subject = broken_words(letter.random.choice(phrases.SUBJECTS_JA))
    return letter.header(subject, content) + base64_body(crlf(letter.sentences(phrases.SENTENCES_JA)))


def iso2022jp(letter: Letter) -> bytes:
    """ISO-2022-JP with NEC row 13 and half-width kana, 7bit."""
    subject, name = _japanese(letter, "iso-2022-jp")
    content = "Content-Type: text/plain; charset=ISO-2022-JP\nContent-Transfer-Encoding: 7bit"
    body = crlf([*letter.sentences(phrases.SENTENCES_JA), "① ﾒｰﾙ №1 ㈱"], "iso-2022-jp")
    return letter.header(subject, content, name=name) + body


def shift_jis(letter: Letter) -> bytes:
    """Shift_JIS under a label that is wrong."""
    subject, name = _japanese(letter)
    content = "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit"
    return letter.header(subject, content, name=name) + crlf(letter.sentences(phrases.SENTENCES_JA), "cp932")


def _alternative(letter: Letter) -> tuple[str, bytes]:
    """The Content-Type of text with its HTML, and the body."""
    lines = letter.sentences(phrases.SENTENCES_JA if letter.random.random() < 0.5 else phrases.SENTENCES_EN)
    page = "".join(f"<p>{line}</p>\r\n" for line in lines)
    boundary = letter.boundary()
    text = part("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", base64_body(crlf(lines)))
    html = part(
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
        quoted_printable(f'<html><body style="font-family:sans-serif">\r\n{page}</body></html>\r\n'),
    )
    return f'Content-Type: multipart/alternative;\n boundary="{boundary}"', multipart(boundary, [text, html])


def html(letter: Letter) -> bytes:
    """Text and HTML as alternatives."""
    subject, name = _japanese(letter)
    content, body = _alternative(letter)
    return letter.header(subject, content, name=name) + body


def attachments(letter: Letter) -> bytes:
    """Text, HTML and one to three files; a file's name is Japanese (RFC 2231)."""
    subject, name = _english(letter)
    boundary = letter.boundary()
    parts = [part(*_alternative(letter))]
    for index in range(letter.random.randint(1, 3)):
        parts.append(
            part(
                f'Content-Type: application/pdf; name="report-{index}.pdf"\nContent-Transfer-Encoding: base64\n'
                "Content-Disposition: attachment;\n filename*0*=UTF-8''%E8%B3%87%E6%96%99;\n"
                f" filename*1*=-{index}.pdf",
                base64_body(letter.file()),
            )
        )
    content = f'Content-Type: multipart/mixed; boundary="{boundary}"'
    preamble = b"This is a multi-part message in MIME format.\r\n"
    return letter.header(subject, content, name=name) + preamble + multipart(boundary, parts)


def picture(letter: Letter) -> bytes:
    """HTML that shows a picture sent with it."""
    subject, name = _english(letter)
    boundary = letter.boundary()
    page = part("Content-Type: text/html; charset=utf-8", b'<p>See:</p>\r\n<img src="cid:picture@demo">\r\n')
    image = part(
        "Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-ID: <picture@demo>\n"
        'Content-Disposition: inline; filename="picture.png"',
        base64_body(b"\x89PNG\r\n\x1a\n" + letter.file()),
    )
    content = f'Content-Type: multipart/related; type="text/html";\n boundary="{boundary}"'
    return letter.header(subject, content, name=name) + multipart(boundary, [page, image])


def signed(letter: Letter) -> bytes:
    """A multipart/signed that looks like S/MIME or OpenPGP; the signature is random octets."""
    subject, name = _english(letter)
    boundary = letter.boundary()
    text = part("Content-Type: text/plain; charset=us-ascii", crlf(letter.sentences(phrases.SENTENCES_EN)))
    octets = base64_body(letter.random.randbytes(1800))
    if letter.random.random() < 0.5:
        protocol, digest = "application/pkcs7-signature", "sha-256"
        kind = 'Content-Type: application/pkcs7-signature; name="smime.p7s"\nContent-Transfer-Encoding: base64'
    else:
        protocol, digest = "application/pgp-signature", "pgp-sha512"
        kind = 'Content-Type: application/pgp-signature; name="signature.asc"'
        octets = b"-----BEGIN PGP SIGNATURE-----\r\n\r\n" + octets + b"-----END PGP SIGNATURE-----\r\n"
    content = f'Content-Type: multipart/signed; protocol="{protocol}";\n micalg={digest}; boundary="{boundary}"'
    return letter.header(subject, content, name=name) + multipart(boundary, [text, part(kind, octets)])


def forwarded(letter: Letter) -> bytes:
    """A message attached to a message, sometimes with another inside."""
    subject, name = _english(letter)
    boundary = letter.boundary()
    inner = letter.random.choice((plain, html, iso2022jp, picture))(letter)
    if letter.random.random() < 0.3:
        inner = letter.header(b"Fwd: again", "Content-Type: message/rfc822") + inner
    parts = [
        part("Content-Type: text/plain", b"See below.\r\n"),
        part("Content-Type: message/rfc822\nContent-Disposition: attachment", inner),
    ]
    content = f"Content-Type: multipart/mixed; boundary={boundary.replace('=', '')}"
    return letter.header(subject, content, name=name) + multipart(boundary.replace("=", ""), parts)


def newsletter(letter: Letter) -> bytes:
    """A list's message with the fields of RFC 2369 and RFC 2919 and a header line of 998 octets."""
    subject, _ = _japanese(letter)
    content, body = _alternative(letter)
    tracking = b"X-Campaign: " + b"%x" % letter.random.getrandbits(4000)
    extra = (
        b"List-Id: Demo news <news.lists.example>\r\nList-Post: NO\r\nPrecedence: bulk\r\n"
        b"List-Unsubscribe: <https://lists.example/u?%d>\r\n" % letter.number + tracking[:998] + b"\r\n"
    )
    return letter.header(subject, content, name=b'"Demo, News"', extra=extra) + body


def unclosed(letter: Letter) -> bytes:
    """Malformed: a multipart whose end is missing, and a boundary that begins like another."""
    subject, name = _english(letter)
    text = part("Content-Type: text/plain", b"one\r\n--cutting\r\nnot a boundary line\r\n")
    body = multipart("cut", [text, part("Content-Type: text/html", b"<p>two\r\n")], closed=False)
    return letter.header(subject, "Content-Type: multipart/mixed; boundary=cut", name=name) + body


def no_boundary(letter: Letter) -> bytes:
    """Malformed: a multipart without the parameter it needs."""
    subject, name = _english(letter)
    return letter.header(subject, "Content-Type: multipart/mixed", name=name) + b"--?\r\n\r\ntext\r\n--?--\r\n"


def raw_header(letter: Letter) -> bytes:
    """Malformed: a header with 8-bit octets and a line that is no field."""
    subject = letter.random.choice(phrases.SUBJECTS_JA).encode()
    extra = b"this line has no colon\r\nX-Empty:\r\n"
    content = "Content-Type: text/plain; charset=x-unknown;; name=a b.txt; =\nContent-Transfer-Encoding: binary (?)"
    return letter.header(subject, content, extra=extra) + crlf(letter.sentences(phrases.SENTENCES_JA))


def lost_escapes(letter: Letter) -> bytes:
    """Malformed: ISO-2022-JP from which a gateway took the escape octets."""
    subject, name = _english(letter)
    content = "Content-Type: text/plain; charset=iso-2022-jp"
    body = encode_iso2022jp("件名 テスト\r\n").replace(b"\x1b", b"")
    return letter.header(subject, content, name=name) + body


KINDS: tuple[tuple[Callable[[Letter], bytes], int], ...] = (
    (plain, 20),
    (eight_bit, 12),
    (base64_text, 12),
    (iso2022jp, 14),
    (shift_jis, 2),
    (html, 16),
    (attachments, 8),
    (picture, 4),
    (signed, 4),
    (forwarded, 4),
    (newsletter, 8),
    (unclosed, 2),
    (no_boundary, 1),
    (raw_header, 2),
    (lost_escapes, 1),
)
"""Every kind of message and how many of 110 it is."""


def messages(
    seed: int, count: int, sender: str, recipients: Sequence[str], *, first_date: int = FIRST_DATE
) -> Iterator[bytes]:
    """`count` messages from `sender` to `recipients` (addresses), the same for the same arguments.

    The first are one of each kind, the others as often as KINDS says. first_date: unix seconds of the first; each
    is minutes to hours after the one before.
    """
    random = Random(f"{seed} {sender}")  # noqa: S311 (texts of a demonstration, not secrets)
    kinds, weights = zip(*KINDS, strict=True)
    first = random.sample(kinds, len(kinds))
    date = first_date
    for number in range(count):
        kind = first[number] if number < len(first) else random.choices(kinds, weights)[0]
        yield kind(Letter(random, sender, recipients, number, date))
        date += random.randint(60, 7200)
