"""The figures as one self-contained SVG, on light ground, without a font or file from elsewhere. PURE."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from bulkhead.boundary.processes import PROCESSES
from bulkhead.demo.figures import Cell, Figures, tenants_of

WIDTH = 1200
MARGIN = 48
_FONT = "system-ui,-apple-system,'Segoe UI','Helvetica Neue','Noto Sans','DejaVu Sans',Arial,sans-serif"
_INK, _SOFT, _LINE, _PAPER = "#16242e", "#5b6b76", "#d9e1e6", "#fbfcfc"
_REACHED, _SAFE, _HERE, _WARN, _GOOD = "#c5352b", "#e9f1ee", "#e89b0c", "#a86a00", "#1d7a5f"
_CELL_W, _CELL_H, _GAP = 66, 25, 4
_LABEL_W = 84
_PANEL_W = 500  # of a matrix with six tenants
_TOP = 238  # of the matrices' first row


def picture(figures: Figures) -> str:
    """The SVG document."""
    rows = len(PROCESSES)
    bottom = _TOP + rows * (_CELL_H + _GAP)
    height = bottom + 404
    body = [
        _head(figures),
        *_panel(figures, MARGIN, "Without walls", f"the same code, not locked, as {figures.user}", locked=False),
        *_panel(
            figures, WIDTH - MARGIN - _PANEL_W, "With bulkheads",
            f"locked into {figures.tenant}/{figures.compartment} by the product's own sandbox", locked=True,
        ),
        *_legend(bottom + 14),
        *_measures(figures, bottom + 62),
        *_containment(figures, bottom + 212),
        _text(MARGIN, height - 26, _footer(figures), size=12, fill=_SOFT),
    ]  # fmt: skip
    title = f"Breach of {figures.tenant}/{figures.compartment}: what it reached"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title" font-family="{_FONT}">',
        f'<title id="title">{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{height}" rx="14" fill="{_PAPER}"/>',
        *body,
        "</svg>",
        "",
    ])  # fmt: skip


def _head(figures: Figures) -> str:
    where = f"{figures.tenant}/{figures.compartment}"
    others = len(tenants_of(figures)) - 1
    reached = figures.measures[0].locked
    verdict = "It stays there." if figures.held else "It did not stay there."
    return "\n".join([
        _text(MARGIN, 66, f"A breach of one part of one ISP. {verdict}", size=32, weight=700),
        _text(
            MARGIN, 98,
            f"Hostile code runs in {where}, {PROCESSES[figures.compartment].duty}, beside six ISPs' live mail: "
            f"{figures.goals.tried} targets and {figures.probes.tried} probes of the wall.",
            size=16, fill=_SOFT,
        ),
        _text(MARGIN, 122, f"It reached {reached} of the {others} other ISPs.", size=16, fill=_SOFT),
    ])  # fmt: skip


def _panel(figures: Figures, x: int, title: str, subtitle: str, *, locked: bool) -> Iterator[str]:
    tenants = tenants_of(figures)
    found = {(cell.tenant, cell.compartment): cell for cell in figures.cells}
    reached = sum((cell.locked if locked else cell.unlocked) for cell in figures.cells)
    yield _text(x, 168, title, size=20, weight=700, fill=_GOOD if locked else _REACHED)
    yield _text(x, 189, subtitle, size=13, fill=_SOFT)
    right = x + _LABEL_W + len(tenants) * (_CELL_W + _GAP) - _GAP
    colour = _GOOD if locked and not reached else _REACHED
    yield _text(
        right, 168, f"{reached} of {len(figures.cells)} reached", size=15, weight=700, fill=colour, anchor="end"
    )
    for column, tenant in enumerate(tenants):
        middle = x + _LABEL_W + column * (_CELL_W + _GAP) + _CELL_W // 2
        weight = 700 if tenant == figures.tenant else 500
        yield _text(middle, _TOP - 12, tenant, size=13, weight=weight, anchor="middle")
    for row, compartment in enumerate(PROCESSES):
        y = _TOP + row * (_CELL_H + _GAP)
        yield _text(x + _LABEL_W - 12, y + 17, compartment, size=13, anchor="end", fill=_INK)
        for column, tenant in enumerate(tenants):
            cell = found[tenant, compartment]
            here = (tenant, compartment) == (figures.tenant, figures.compartment)
            yield _cell(x + _LABEL_W + column * (_CELL_W + _GAP), y, cell, locked=locked, here=here)


def _cell(x: int, y: int, cell: Cell, *, locked: bool, here: bool) -> str:
    reached = cell.locked if locked else cell.unlocked
    inside = here and locked
    fill = _HERE if inside else _REACHED if reached else _SAFE
    ink = "#ffffff" if inside or reached else "#7d8f99"
    holds = cell.holds >= 0
    label = "hostile" if inside else ("memory" if reached else "–")
    if holds and not inside:
        label = f"{cell.holds:,}" if reached else f"0 of {cell.holds:,}"
    box = f'<rect x="{x}" y="{y}" width="{_CELL_W}" height="{_CELL_H}" rx="4" fill="{fill}"/>'
    size = 12 if len(label) < 9 else 11
    return box + _text(x + _CELL_W // 2, y + 17, label, size=size, weight=600, fill=ink, anchor="middle")


def _legend(y: int) -> Iterator[str]:
    items = ((_REACHED, "files or memory read"), (_SAFE, "not reached"), (_HERE, "where the hostile code runs"))
    x = MARGIN + _LABEL_W
    for colour, words in items:
        yield f'<rect x="{x}" y="{y}" width="14" height="14" rx="3" fill="{colour}"/>'
        yield _text(x + 21, y + 12, words, size=12, fill=_SOFT)
        x += 40 + 7 * len(words)
    yield _text(
        x,
        y + 12,
        "numbers: addresses in directory, verifiers in auth and keyring, messages in store",
        size=12,
        fill=_SOFT,
    )


def _measures(figures: Figures, y: int) -> Iterator[str]:
    width = (WIDTH - 2 * MARGIN - 4 * 14) // 5
    for index, row in enumerate(figures.measures):
        x = MARGIN + index * (width + 14)
        colour = _REACHED if row.locked else _GOOD
        yield _card(x, y, width, 128)
        yield _text(x + 18, y + 48, f"{row.locked:,}", size=38, weight=700, fill=colour)
        yield _text(x + 26 + 24 * len(f"{row.locked:,}"), y + 48, f"of {row.of:,}", size=17, fill=_SOFT)
        yield _text(x + 18, y + 72, row.name, size=15, weight=600)
        yield _text(x + 18, y + 93, f"unlocked: {row.unlocked:,}", size=12, fill=_SOFT)
        if row.name == "stored mail" and figures.live_sessions:
            words = f"+ {figures.live_messages} of one live session"
            yield _text(x + 18, y + 112, words, size=12, weight=600, fill=_WARN)
        elif row.by_duty:
            words = f"+ {row.by_duty:,} by its duty" + (", sealed" if row.name == "stored mail" else "")
            yield _text(x + 18, y + 112, words, size=12, weight=600, fill=_WARN)


def _containment(figures: Figures, y: int) -> Iterator[str]:
    stopped = figures.containment
    effect = "-" if stopped.effect_ms is None else f"{stopped.effect_ms:,.0f} ms"
    good = stopped.round_trips - len(stopped.errors)
    others = len(tenants_of(figures)) - 1
    tiles = (
        (effect, f"until {figures.tenant} had ended its logins and sessions", stopped.effect_ms is not None),
        (f"{stopped.arrived} of {stopped.sent}", f"messages still arrived in {figures.tenant} after that",
         stopped.arrived == stopped.sent),
        (f"{good} of {stopped.round_trips}", f"round trips through the other {others} without error",
         not stopped.errors),
    )  # fmt: skip
    yield _text(MARGIN, y + 20, f"Then {figures.tenant} contains its own cell, alone", size=20, weight=700)
    width = (WIDTH - 2 * MARGIN - 2 * 14) // 3
    for index, (number, words, fine) in enumerate(tiles):
        x = MARGIN + index * (width + 14)
        yield _card(x, y + 38, width, 92)
        yield _text(x + 18, y + 80, number, size=30, weight=700, fill=_GOOD if fine else _REACHED)
        yield _text(x + 18, y + 108, words, size=14, fill=_INK)


def _footer(figures: Figures) -> str:
    return (
        f"Every number measured on a running system by `bulkhead demo breach {figures.tenant}/{figures.compartment}` "
        f"in {figures.seconds:.0f} s, {figures.as_of}, sandbox level {figures.level}."
    )


def _card(x: int, y: int, width: int, height: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#ffffff" stroke="{_LINE}"/>'


def _text(x: int, y: int, words: str, *, size: int, weight: int = 400, fill: str = _INK, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
