"""Text of mail in any charset, as str; never raises.

Labels are a closed table: a label from a message never makes Python look for a codec, and every codec is loaded with
this module, because a locked-down process can load none. ISO-2022-JP means CP50220, as Japanese mailers mean it: JIS
X 0208 with NEC row 13 and the IBM extensions, and half-width kana (RFC 1468 allows none of these). A wrong label is
answered by trying UTF-8, then what Japanese mail is most often in.
"""

import codecs
import re
from typing import Final

ENCODED_WORD_MAX: Final = 64 * 1024  # octets of one header value in which encoded words are looked for
REPLACEMENT: Final = "\ufffd"

# Python codec: labels in lower case (IANA names, and the wrong ones that are in use).
_LABELS: Final = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 x-utf-8 cp65001 utf8mb4",
    "ascii": "us-ascii ascii ansi_x3.4-1968 iso646-us 646",
    "cp1252": "iso-8859-1 iso8859-1 iso_8859-1 latin1 latin-1 l1 windows-1252 cp1252 x-ansi",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j cp932 csshiftjis cswindows31j",
    "euc_jp": "euc-jp eucjp x-euc-jp x-euc cseucpkdfmtjapanese cp51932 eucjp-ms eucjpms",
    "iso2022jp": "iso-2022-jp iso2022jp csiso2022jp cp50220 cp50221 cp50222 x-iso-2022-jp iso-2022-jp-ms jis",
    "iso2022_jp_1": "iso-2022-jp-1",
    "iso2022_jp_2": "iso-2022-jp-2",
    "iso2022_jp_3": "iso-2022-jp-3",
    "iso2022_jp_2004": "iso-2022-jp-2004",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "cp949": "euc-kr euckr ks_c_5601-1987 ks_c_5601 cp949 uhc windows-949",
    "gb18030": "gb2312 gbk gb18030 cp936 x-gbk euc-cn windows-936",
    "hz": "hz-gb-2312",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5 cp950",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-7": "utf-7 unicode-1-1-utf-7",
    "iso8859-2": "iso-8859-2 latin2",
    "iso8859-3": "iso-8859-3",
    "iso8859-4": "iso-8859-4",
    "iso8859-5": "iso-8859-5",
    "iso8859-6": "iso-8859-6",
    "iso8859-7": "iso-8859-7",
    "iso8859-8": "iso-8859-8 iso-8859-8-i",
    "cp1254": "iso-8859-9 latin5 windows-1254",
    "iso8859-10": "iso-8859-10",
    "iso8859-13": "iso-8859-13",
    "iso8859-14": "iso-8859-14",
    "iso8859-15": "iso-8859-15 latin9 latin-9",
    "iso8859-16": "iso-8859-16",
    "cp874": "tis-620 iso-8859-11 windows-874",
    "cp1250": "windows-1250 cp1250",
    "cp1251": "windows-1251 cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "koi8-r": "koi8-r koi8",
    "koi8-u": "koi8-u",
    "cp437": "cp437 ibm437",
    "cp850": "cp850 ibm850",
    "cp866": "cp866 ibm866",
    "mac-roman": "macintosh mac",
}
_CODECS: Final = {
    label: name if name == "iso2022jp" else codecs.lookup(name).name
    for name, labels in _LABELS.items()
    for label in labels.split()
}
_DECODERS: Final = {
    name: decoder
    for name in set(_CODECS.values()) - {"iso2022jp"}
    if (decoder := codecs.lookup(name).incrementaldecoder) is not None
}
# Labels that say little: whoever writes them often sends UTF-8.
_DOUBTFUL: Final = frozenset(("ascii", "cp1252"))
# What unlabelled 8-bit text is tried as. Shift_JIS is rarely valid EUC-JP, and Latin text is rarely valid as either.
_GUESSES: Final = ("utf-8", "euc_jp", "cp932")
_JIS_GUESSES: Final = ("utf-8", "cp932")  # for 8-bit octets within ISO-2022-JP: half-width kana

_ESCAPE = re.compile(rb"\x1b(\([BJIH]|\$[@BA]|\$\([BCDOPQ@]|&@)")
_JIS_RUN = re.compile(rb"[\x21-\x7e]+|[^\x21-\x7e]+")
_PAIRS = re.compile(rb"(?:[\x21-\x7e][\x21-\x7e])*+")
_KANA_UP = bytes([byte + 0x80 if 0x21 <= byte <= 0x5F else byte for byte in range(256)])
# ISO-2022-JP is read as EUC-JP with the high bits set, which is faster than by the table below; these differ.
_UP = bytes([byte | 0x80 for byte in range(256)])
_AS_CP932 = {0x301C: 0xFF5E, 0x2016: 0x2225, 0x2212: 0xFF0D, 0xA2: 0xFFE0, 0xA3: 0xFFE1, 0xAC: 0xFFE2}
_NOT_AS_CP932 = re.compile("[" + "".join(map(chr, _AS_CP932)) + "]")
# JIS X 0212, JIS X 0213, GB 2312 and KS X 1001, each in the dialect that knows its escape.
_OTHER_SETS: Final = {
    b"$(D": codecs.lookup("iso2022_jp_1").name,
    b"$(O": codecs.lookup("iso2022_jp_3").name,
    b"$(P": codecs.lookup("iso2022_jp_2004").name,
    b"$(Q": codecs.lookup("iso2022_jp_2004").name,
    b"$A": codecs.lookup("iso2022_jp_2").name,
    b"$(C": codecs.lookup("iso2022_jp_2").name,
}
_JIS_X_0208: Final = frozenset((b"$B", b"$@", b"$(B", b"$(@"))
# Knows NEC row 13 (circled digits and the like), which euc_jp refuses.
_EUC_ROW_13: Final = codecs.lookup("euc_jis_2004").name


class _JisTable(dict[int, str]):
    """JIS X 0208 code (two 7-bit octets as one number) to character, by way of Shift_JIS; filled as it is used."""

    def __missing__(self, code: int) -> str:
        first, second = code >> 8, code & 0xFF
        lead = ((first - 0x21) >> 1) + (0x81 if first < 0x5F else 0xC1)
        trail = second + ((0x1F if second < 0x60 else 0x20) if first & 1 else 0x7E)
        self[code] = text = bytes((lead, trail)).decode("cp932", "replace") if lead < 0x100 else REPLACEMENT
        return text


_JIS = _JisTable()


def codec(label: str) -> str | None:
    """The name of the codec that `decode` uses for a charset label (any case, quotes and language aside), or None."""
    return _CODECS.get(label.strip(" \t\"'").lower())


def decode(data: bytes, label: str = "") -> str:
    """The text of `data`, whose charset is said to be `label`. Never raises; what cannot be read becomes U+FFFD."""
    name = codec(label)
    if name == "iso2022jp" or (b"\x1b$" in data and (name is None or name in _DOUBTFUL)):
        return _decode_iso2022jp(data)
    if data.isascii() and (name is None or name in ("utf-8", "ascii", "cp1252")):
        return data.decode("ascii")
    if name is None or name in _DOUBTFUL:
        return _guess(data, _GUESSES, "cp1252")
    try:
        return data.decode(name)
    except UnicodeError:
        pass
    if name == "utf-8":
        return _guess(data, _GUESSES, "utf-8")
    for other in ("utf-8", _EUC_ROW_13) if name == "euc_jp" else ("utf-8",):
        try:
            return data.decode(other)
        except UnicodeError:
            continue
    return data.decode(name, "replace")


def cut(data: bytes | bytearray, limit: int, label: str = "") -> int:
    """The last place up to `limit` where text labelled `label` may be cut so that both pieces decode alone.

    After a line end where there is one, since ISO-2022-JP begins each line anew (RFC 1468); else between characters.
    """
    if limit >= len(data) and not data[-4:].strip(b"\r\n"):
        return len(data)
    name = codec(label)
    wide = name is not None and name.startswith(("utf-16", "utf-32"))
    line = 0 if wide else data.rfind(b"\n", 0, limit) + 1
    if line:
        return line
    window = bytes(data[:limit])
    if name == "iso2022jp" or b"\x1b$" in window:
        return window.rfind(b"\x1b(B") + 3 if b"\x1b(B" in window else limit
    for guess in (name,) if name is not None and name not in _DOUBTFUL else _GUESSES:
        decoder = _DECODERS[guess]()
        try:
            decoder.decode(window)
        except UnicodeError:
            continue
        return limit - len(decoder.getstate()[0]) or limit
    return limit


def _guess(data: bytes, names: tuple[str, ...], last: str) -> str:
    for name in names:
        try:
            return data.decode(name)
        except UnicodeError:
            continue
    return data.decode(last, "replace")


def _decode_iso2022jp(data: bytes) -> str:
    """CP50220: escapes choose the set, a line end chooses ASCII again (RFC 1468)."""
    if b"\x1b" not in data:
        if not data.isascii():
            return _guess(data, _JIS_GUESSES, "cp932")
        data = _restore_escapes(data)
    if b"\x1b" not in data:
        return data.decode("ascii")
    pieces = _ESCAPE.split(data)
    text = [_decode_ascii(pieces[0])]
    for charset, run in zip(pieces[1::2], pieces[2::2], strict=True):
        if charset in _JIS_X_0208:
            text.append(_decode_multi(run, None))
        elif charset in _OTHER_SETS:
            text.append(_decode_multi(run, charset))
        elif charset == b"(I":
            line, end, rest = run.partition(b"\n")
            text.append(line.translate(_KANA_UP).decode("cp932", "replace") + _decode_ascii(end + rest))
        else:
            text.append(_decode_ascii(run))
    return "".join(text)


def _decode_ascii(run: bytes) -> str:
    """What stands in ASCII or JIS X 0201 Roman; 8-bit octets there are Shift_JIS, mostly half-width kana."""
    return run.decode("ascii") if run.isascii() else _guess(run, _JIS_GUESSES, "cp932")


def _decode_multi(run: bytes, charset: bytes | None) -> str:
    """A run of two-octet characters up to a line end; other octets in it stand for themselves."""
    if charset is None and _PAIRS.fullmatch(run):
        try:
            text_of_run = run.translate(_UP).decode("euc_jp")
        except UnicodeDecodeError:  # row 13, the IBM extensions, or what is in no set
            return run.decode("utf-16-be").translate(_JIS)
        return text_of_run.translate(_AS_CP932) if _NOT_AS_CP932.search(text_of_run) else text_of_run
    line, end, rest = run.partition(b"\n")
    text: list[str] = []
    for piece in _JIS_RUN.findall(line):
        if not 0x21 <= piece[0] <= 0x7E:
            text.append(_decode_ascii(piece))
            continue
        pairs = piece[: len(piece) & ~1]
        if charset is None:
            text.append(pairs.decode("utf-16-be").translate(_JIS))
        else:
            text.append((b"\x1b" + charset + pairs + b"\x1b(B").decode(_OTHER_SETS[charset], "replace"))
        if len(piece) & 1:
            text.append(REPLACEMENT)
    return "".join(text) + _decode_ascii(end + rest)


def _restore_escapes(data: bytes) -> bytes:
    """Put back the ESC octets that a gateway removed: `$B%F%9%H(B` (only whole words of an even number of octets)."""
    pieces = data.split(b"(B")
    for index, piece in enumerate(pieces[:-1]):
        word = piece[max(piece.rfind(b" "), piece.rfind(b"\n"), piece.rfind(b"\t")) + 1 :]
        mark = word.find(b"$B")
        pairs = len(word) - mark - 2
        if mark < 0 or pairs <= 0 or pairs & 1:
            pieces[index] = piece + b"(B"
        else:
            head = len(piece) - pairs - 2
            pieces[index] = piece[:head] + b"\x1b" + piece[head:] + b"\x1b(B"
    return b"".join(pieces)
