"""The table of probes for docs/sandbox.md, made from the data file. `python -m bulkhead.drill.page docs/sandbox.md`."""

import sys
from pathlib import Path

from bulkhead.drill.probes import load_probes

BEGIN, END = "<!-- probes: begin -->\n", "<!-- probes: end -->\n"


def probe_table() -> str:
    """Markdown: one row a probe, between its two marks."""
    rows = ["| probe | kind | target | success means that a compromised compartment | notes |", "|---|---|---|---|---|"]
    for p in load_probes().values():
        notes = [
            note
            for note in ("only from root" if p.needs_root else "", f"duty: {p.granted_by}" * bool(p.granted_by))
            if note
        ]
        rows.append(f"| `{p.name}` | {p.kind.value} | {p.target.value} | {p.success_means} | {', '.join(notes)} |")
    return BEGIN + "\n".join(rows) + "\n" + END


def main(path: str) -> None:
    """Replace the table in the page at `path`. Raises ValueError when its marks are missing."""
    page = Path(path)
    text = page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN), text.index(END) + len(END)
    page.write_text(text[:before] + probe_table() + text[after:], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
