"""The mail that the benchmarks send: 70 % of 4 KB plain text, 25 % of 30 KB in two forms, 5 % of 300 KB with a file.

Deterministic: message n is the same octets on every machine. No line begins with a dot, so that no sender has to look.
"""

import base64
import random

HEADER_BYTES = 1900  # of a message, about
KINDS = ((0.70, 4 * 1024), (0.25, 30 * 1024), (0.05, 300 * 1024))
BODIES = 24  # different ones of each kind
PERIOD = 10_007  # messages after which the order of kinds repeats
_NAMES, _WORDS = (
    words.split()
    for words in (
        "Aiko Bram Chiyo Dagny Emre Fumi Goro Hana Ines Jiro Kenta Lena Mio Nao Olav Petra Rin Sota Tomo Yui",
        "agenda budget carrier delay evening figure garden harbour invoice journey keeper letter market notice office "
        "parcel quarter report season ticket upper village window yearly and the of for with from about under over",
    )
)
_HEADER = """\
Received: from out{site}.mail{site}.example (out{site}.mail{site}.example [192.0.2.{site}])\r
\tby gateway3.carrier.example with ESMTPS id {number:08X}F3 (version=TLS1_3\r
\tcipher=TLS_AES_256_GCM_SHA384 bits=256) for <subscriber@t0.example>;\r
\tTue, 3 Nov 2026 {hour:02d}:{minute:02d}:{second:02d} +0900\r
Received: from batch4.inside.mail{site}.example ([198.51.100.{site}])\r
\tby out{site}.mail{site}.example with ESMTPSA id m{number:08x};\r
\tTue, 3 Nov 2026 {hour:02d}:{minute:02d}:{second:02d} +0900\r
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=mail{site}.example; s=k2026;\r
\tt=1793600000; h=from:to:subject:date:message-id:mime-version:content-type;\r
\tbh={digest};\r
\tb={signature}\r
Authentication-Results: gateway3.carrier.example; dkim=pass header.d=mail{site}.example;\r
\tspf=pass smtp.mailfrom=mail{site}.example; dmarc=pass header.from=mail{site}.example\r
Date: Tue, 3 Nov 2026 {hour:02d}:{minute:02d}:{second:02d} +0900\r
From: {author} Desk <{author}@mail{site}.example>\r
Sender: <bounce-{number}@mail{site}.example>\r
Reply-To: {author} Desk <{author}+{number:x}@mail{site}.example>\r
To: "A Subscriber" <subscriber@t0.example>\r
Cc: {second_author} Office <{second_author}@mail{site}.example>\r
Message-ID: <{number:08x}.{hour}{minute}{second}@out{site}.mail{site}.example>\r
In-Reply-To: <{number:07x}.0@t0.example>\r
References: <{number:07x}.0@t0.example> <{number:06x}.1@t0.example>\r
Subject: The {word} of {other_word}, number {number}\r
List-Id: Notices <notices.mail{site}.example>\r
List-Unsubscribe: <https://mail{site}.example/leave/{number}>, <mailto:leave-{number}@mail{site}.example>\r
X-Mailer: Desk 7.2\r
MIME-Version: 1.0\r
"""


class MailMix:
    """`message(n)` gives the octets of message n, its newlines CRLF, without the final dot."""

    def __init__(self, seed: int = 1, shares: tuple[float, ...] = tuple(share for share, _ in KINDS)) -> None:
        """shares: of the kinds, in KINDS' order."""
        chance = random.Random(seed)  # noqa: S311 - filler, no secret
        makers = (_plain, _two_forms, _with_file)
        self._bodies = [
            [make(chance, size - HEADER_BYTES) for _ in range(BODIES)]
            for make, (_, size) in zip(makers, KINDS, strict=True)
        ]
        self._order = chance.choices(range(len(KINDS)), shares, k=PERIOD)
        self._signatures = [(_random_text(chance, 32), _folded(_random_text(chance, 256))) for _ in range(BODIES)]

    def message(self, number: int) -> bytes:
        """Message `number`, from 0."""
        digest, signature = self._signatures[number % BODIES]
        head = _HEADER.format(
            number=number,
            site=1 + number % 97,
            hour=number // 3600 % 24,
            minute=number // 60 % 60,
            second=number % 60,
            author=_NAMES[number % len(_NAMES)],
            second_author=_NAMES[(7 * number + 3) % len(_NAMES)],
            word=_WORDS[number % len(_WORDS)],
            other_word=_WORDS[(5 * number + 2) % len(_WORDS)],
            digest=digest,
            signature=signature,
        )
        return head.encode() + self._bodies[self._order[number % PERIOD]][number % BODIES]


def _random_text(chance: random.Random, octets: int) -> str:
    return base64.b64encode(chance.randbytes(octets)).decode()


def _folded(text: str) -> str:
    return "\r\n\t ".join(text[at : at + 70] for at in range(0, len(text), 70))


def _prose(chance: random.Random, octets: int) -> str:
    lines, line, size = [], "", 0
    while size < octets:
        word = chance.choice(_WORDS)
        if len(line) + len(word) > 72:
            lines.append(line)
            size += len(line) + 2
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\r\n".join([*lines, line, ""])


def _plain(chance: random.Random, octets: int) -> bytes:
    head = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    return (head + _prose(chance, octets)).encode()


def _two_forms(chance: random.Random, octets: int) -> bytes:
    mark = f"=_forms_{chance.getrandbits(40):010x}"
    paragraphs = "".join(f"<p>{_prose(chance, 400)}</p>\r\n" for _ in range(max(1, octets * 3 // 4 // 420)))
    return (
        f'Content-Type: multipart/alternative; boundary="{mark}"\r\n\r\n'
        f"--{mark}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{_prose(chance, octets // 4)}\r\n"
        f"--{mark}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n{paragraphs}</body></html>\r\n"
        f"--{mark}--\r\n"
    ).encode()


def _with_file(chance: random.Random, octets: int) -> bytes:
    mark = f"=_mixed_{chance.getrandbits(40):010x}"
    file = base64.encodebytes(chance.randbytes(int((octets - 2500) / 1.37))).decode().replace("\n", "\r\n")
    return (
        f'Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\n'
        f"--{mark}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{_prose(chance, 2000)}\r\n"
        f'--{mark}\r\nContent-Type: application/pdf; name="report.pdf"\r\n'
        'Content-Disposition: attachment; filename="report.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        f"{file}--{mark}--\r\n"
    ).encode()
