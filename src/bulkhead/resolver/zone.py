"""The tenant's own zone text: a master file (RFC 1035 section 5) with $ORIGIN and $TTL, of one domain or several. PURE.

Every name it holds is answered from it alone; no name server is asked about it.
"""

from typing import Any, Final

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile

from bulkhead.errors import ConfigError
from bulkhead.resolver.response import RECORDS_MAX, TTL_MAX, Answer, Type, Verdict, plain, record_of

DIRECTIVES: Final = ("$ORIGIN", "$TTL")  # no $INCLUDE: there is no file to include


class Zone:
    """Names and their records."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError, naming the line."""
        self._names: dict[str, dict[int, list[Any]]] = {}
        self._ttl = TTL_MAX
        if not text.strip():
            return
        tokenizer = dns.tokenizer.Tokenizer(text, "resolver.zone_file")
        try:
            reader: Any = dns.zonefile.Reader(
                tokenizer,
                dns.rdataclass.IN,
                _Collector(self._add),  # type: ignore[arg-type]  # the four things that Reader asks of a transaction
                allow_directives=DIRECTIVES,
                default_ttl=TTL_MAX,
            )
            reader.read()
        except (dns.exception.DNSException, ValueError) as error:
            raise ConfigError(f"resolver.zone_file cannot be read: {error}; correct that line") from None

    def __bool__(self) -> bool:
        return bool(self._names)

    def answer(self, name: str, wanted: Type) -> Answer | None:
        """The zone's answer, or None where it does not hold the name."""
        records = self._names.get(name)
        if records is None:
            return None
        found = records.get(wanted.value)
        if found:
            taken = tuple(record_of(rdata, wanted) for rdata in found[:RECORDS_MAX])
            return Answer(Verdict.FOUND, taken, self._ttl)
        alias = records.get(dns.rdatatype.CNAME)
        return Answer(Verdict.NO_DATA, (), self._ttl, plain(alias[0].target) if alias else "")

    def _add(self, name: dns.name.Name, ttl: int, rdata: Any) -> None:
        self._ttl = min(self._ttl, ttl)
        self._names.setdefault(plain(name), {}).setdefault(rdata.rdtype, []).append(rdata)


class _Collector:
    """What dnspython's reader writes to: it would else insist on one origin for the whole text."""

    def __init__(self, add: Any) -> None:
        self.add = add
        self.manager = self

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        """Names are absolute, from the root."""
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, _: Any) -> None:
        """No check is asked for."""

    def _set_origin(self, _: Any) -> None:
        """$ORIGIN is the reader's affair."""
