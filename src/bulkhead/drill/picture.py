"""The result as a self-contained picture, SVG or a page around it, without a font or file from elsewhere. PURE."""

from collections.abc import Iterator
from html import escape

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.matrix import Basis, Cell, Line, lines_differ
from bulkhead.drill.result import Result
from bulkhead.drill.semantic import Column, Mode

WIDTH = 1400
MARGIN = 44
_FONT = "system-ui,-apple-system,'Segoe UI','Helvetica Neue','Noto Sans','DejaVu Sans',Arial,sans-serif"
_INK, _SOFT, _LINE, _PAPER = "#16242e", "#5b6b76", "#d9e1e6", "#fbfcfc"
_SAFE, _SOME, _MUCH, _OVER, _NONE, _GOOD = "#e4f0ec", "#fbe3b3", "#f3bd6b", "#c5352b", "#f1f3f4", "#1d7a5f"
_LABEL_W, _CELL_W, _CELL_H, _GAP = 146, 85, 34, 4
_TOP = 204
_WORDS = {
    Column.OTHER_TENANTS: ("other", "ISPs"), Column.ADDRESSES: ("addresses", ""),
    Column.VERIFIERS: ("password", "verifiers"), Column.TYPED_PASSWORDS: ("passwords", "typed there"),
    Column.STORED_MAIL: ("stored", "mail read"), Column.MAIL_IN_TRANSIT: ("mail in", "transit"),
    Column.MAIL_ALTERED: ("mail", "altered"), Column.MAIL_DESTROYED: ("mail", "destroyed"),
    Column.KEYS: ("keys", "in use"), Column.ORDERS: ("signed", "orders"), Column.NETWORK: ("network", "reached"),
    Column.PERSISTENCE: ("survives", "a restart"), Column.AVAILABILITY: ("parts it", "can stop"),
}  # fmt: skip
_NEVER = frozenset({Column.OTHER_TENANTS, Column.VERIFIERS})


def svg(result: Result) -> str:
    """The SVG document."""
    lines = _lines(result)
    bottom = _TOP + len(lines) * (_CELL_H + _GAP)
    pairs = result.pairs[:5]
    height = bottom + 130 + (34 + 24 * len(pairs) if pairs else 0)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title" font-family="{_FONT}">',
        '<title id="title">What each broken part of one ISP reaches</title>',
        f'<rect width="{WIDTH}" height="{height}" rx="14" fill="{_PAPER}"/>',
        *_head(result),
        *_columns(),
        *(part for number, (line, name) in enumerate(lines) for part in _row(result, line, name, number)),
        *_legend(bottom + 22),
        *_worst(result, bottom + 84),
        _text(MARGIN, height - 24, _footer(result), size=12, fill=_SOFT),
        "</svg>",
        "",
    ])  # fmt: skip


def html(result: Result) -> str:
    """A page with the picture and, below it, the reasons of the budget."""
    rows = "\n".join(
        f"<tr><td>{escape(e.compartment)}</td><td>{escape(e.column)}</td><td>{escape(str(e.ceiling))}</td>"
        f"<td>{escape(e.reason)}</td></tr>"
        for e in result.budget.entries
    )
    unproven = "".join(f"<li>{escape(f'{r.compartment}/{r.name}: {r.control}')}</li>" for r in result.unproven)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Bulkhead drill</title>\n'
        f"<style>body{{font:15px {_FONT};color:{_INK};margin:24px;max-width:1400px}}svg{{max-width:100%;height:auto}}"
        f"td,th{{text-align:left;padding:4px 12px;border-bottom:1px solid {_LINE};vertical-align:top}}</style></head>\n"
        f"<body>\n{svg(result)}"
        "<h2>What is accepted, and why</h2>\n<table>\n"
        "<tr><th>Part</th><th>What</th><th>At most</th><th>Reason</th></tr>\n"
        f"{rows}\n</table>\n<h2>Shown by no probe</h2>\n<ul>{unproven or '<li>nothing</li>'}</ul>\n</body></html>\n"
    )


def _lines(result: Result) -> list[tuple[Line, str]]:
    """Lines to show, with their names: both modes only where they differ."""
    found = []
    for compartment in PROCESSES:
        own = [line for line in result.lines if line.compartment == compartment]
        differs = lines_differ(result.lines, compartment)
        for line in own:
            if line.mode is Mode.DEFAULT or differs:
                found.append((line, compartment + (f", {line.mode.value}" if differs else "")))
    return found


def _head(result: Result) -> Iterator[str]:
    others = max((line.cells[Column.OTHER_TENANTS].reached for line in result.lines), default=0)
    verdict = "Within budget" if result.within else "Over budget"
    colour = _GOOD if result.within else _OVER
    yield _text(MARGIN, 66, "One part of one ISP is broken into. What does it reach?", size=32, weight=700)
    yield _text(WIDTH - MARGIN, 66, verdict, size=24, weight=700, fill=colour, anchor="end")
    yield _text(
        MARGIN, 100,
        f"Hostile code ran in each part of {result.home}, beside {len(result.tenants) - 1} other ISPs, under the "
        f"product's own locks: {len(result.rows):,} acts and probes.",
        size=16, fill=_SOFT,
    )  # fmt: skip
    words = f"The most that any single part reached of the {len(result.tenants) - 1} other ISPs: {others}."
    yield _text(MARGIN, 126, words, size=16, fill=_OVER if others else _GOOD, weight=600)


def _columns() -> Iterator[str]:
    for number, column in enumerate(Column):
        x = MARGIN + _LABEL_W + number * (_CELL_W + _GAP) + _CELL_W // 2
        one, two = _WORDS[column]
        weight = 700 if column in _NEVER or column is Column.STORED_MAIL else 500
        yield _text(x, _TOP - 28 if two else _TOP - 12, one, size=13, weight=weight, anchor="middle")
        if two:
            yield _text(x, _TOP - 12, two, size=13, weight=weight, anchor="middle")


def _row(result: Result, line: Line, name: str, number: int) -> Iterator[str]:
    y = _TOP + number * (_CELL_H + _GAP)
    yield _text(MARGIN, y + 22, name, size=14, weight=600)
    over = {e.column for e in result.over if (e.compartment, e.mode) == (line.compartment, line.mode)}
    for place, column in enumerate(Column):
        x = MARGIN + _LABEL_W + place * (_CELL_W + _GAP)
        fill, ink, words = _look(line.cells[column], over=column.value in over)
        yield f'<rect x="{x}" y="{y}" width="{_CELL_W}" height="{_CELL_H}" rx="5" fill="{fill}"/>'
        yield _text(x + _CELL_W // 2, y + 22, words, size=13, weight=600, fill=ink, anchor="middle")


def _look(cell: Cell, *, over: bool) -> tuple[str, str, str]:
    if cell.basis is Basis.NOT_TRIED:
        return _NONE, _SOFT, "–"
    of = len(cell.count.canaries.of)
    words = (f"{cell.reached} of {of}" if of else "0") + "*" * (cell.basis is Basis.CHARTER)
    if cell.hits:
        words = f"{words} +{cell.hits}"
    if over:
        return _OVER, "#ffffff", words
    if not cell.count.reached:
        return _SAFE, _GOOD, words
    return (_MUCH if of and cell.reached == of else _SOME), _INK, words


def _legend(y: int) -> Iterator[str]:
    items = (
        (_SAFE, "nothing reached"), (_SOME, "some, with a reason in the budget"),
        (_MUCH, "all of its own ISP's, with a reason"), (_OVER, "over budget"),
        (_NONE, "nothing tried"),
    )  # fmt: skip
    x = MARGIN
    for colour, words in items:
        yield f'<rect x="{x}" y="{y}" width="14" height="14" rx="3" fill="{colour}" stroke="{_LINE}"/>'
        yield _text(x + 21, y + 12, words, size=12, fill=_SOFT)
        x += 44 + 7 * len(words)
    words = "numbers: planted accounts, messages and targets;  *: by its duty, not measured;  +n: other acts"
    yield _text(MARGIN, y + 36, words, size=12, fill=_SOFT)


def _worst(result: Result, y: int) -> Iterator[str]:
    if not result.pairs:
        return
    yield _text(MARGIN, y + 8, "Two parts broken into together: the worst", size=18, weight=700)
    for number, pair in enumerate(result.pairs[:5]):
        line = f"{' + '.join(pair.compartments)}: {pair.means[0] if pair.means else 'no more than each alone'}"
        yield _text(MARGIN, y + 34 + 24 * number, line[:190], size=14)


def _footer(result: Result) -> str:
    return (
        f"Measured by `bulkhead drill` {result.version} in {result.seconds:.0f} s on planted accounts, {result.as_of}, "
        f"Linux {result.kernel}, as {result.user}; {len(result.unproven)} rows show nothing and say so."
    )


def _text(x: int, y: int, words: str, *, size: int, weight: int = 400, fill: str = _INK, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
