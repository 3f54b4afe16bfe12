"""How long auth and keyring are: the number of docs/decisions/0010, a ceiling that only goes down."""

import ast
import io
import tokenize
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "bulkhead"
CEILING = 3_150  # lines of code of both
SLACK = 60  # below it by more: lower it
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def lines_of_code(text: str) -> int:
    """Lines that have a token of code: no blank line, no comment, no docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_blank_lines_comments_and_docstrings_are_not_counted_and_every_other_line_is() -> None:
    assert (
        lines_of_code('"""Of\na module."""\n\n# why\nx = (\n    1,  # one\n)\n\n\ndef f():\n    """D."""\n    "text"\n')
        == 5
    )


def test_auth_and_keyring_together_grow_no_longer() -> None:
    files = [path for name in ("auth", "keyring") for path in (SOURCE / name).glob("*.py")]
    counted = sum(lines_of_code(path.read_text(encoding="utf-8")) for path in files)
    assert CEILING - SLACK <= counted <= CEILING, f"{counted} lines: see docs/decisions/0010"
