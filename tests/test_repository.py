"""The repository's own promises: what set-up installs is locked, public, hashed and explained."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
BUILD = PROJECT["dependency-groups"]["build"]
DEV = PROJECT["dependency-groups"]["dev"]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PUBLIC = {"pypi.org", "files.pythonhosted.org"}
REQUIREMENT = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\\n]+?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def locked(name: str) -> dict[str, str]:
    """Package to version in one lock file."""
    return {match[1]: match[2] for match in REQUIREMENT.finditer((ROOT / name).read_text())}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    left = [line for line in REQUIREMENT.sub("", text).splitlines() if line and not line.lstrip().startswith("#")]
    assert left == []


@pytest.mark.parametrize(
    ("requirement", "lock"),
    [*((line, LOCKS[0]) for line in RUNTIME + BUILD), *((line, LOCKS[1]) for line in DEV)],
)
def test_the_locks_hold_what_the_project_asks_for(requirement: str, lock: str) -> None:
    name, _, version = requirement.partition(" ;")[0].partition("==")
    assert locked(lock).get(name) == version, "stale: run make lock"


def test_the_build_back_end_is_the_locked_one() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(BUILD)


def test_no_package_has_two_versions() -> None:
    runtime, dev = locked(LOCKS[0]), locked(LOCKS[1])
    assert {
        name: (runtime[name], dev[name]) for name in runtime.keys() & dev.keys() if runtime[name] != dev[name]
    } == {}


@pytest.mark.parametrize("name", [*LOCKS, "uv.lock"])
def test_locks_name_only_public_hosts(name: str) -> None:
    text = (ROOT / name).read_text()
    assert set(re.findall(r"[a-z]+://([^/\"\s]+)", text)) <= PUBLIC
    assert "file:" not in text


@pytest.mark.parametrize("package", sorted(set(locked(LOCKS[0])) | set(locked(LOCKS[1]))))
def test_every_dependency_has_its_reason_written_down(package: str) -> None:
    assert re.search(rf"\b{re.escape(package)}\b", (ROOT / "docs" / "dependencies.md").read_text())


def test_what_is_shipped_imports_only_what_it_asks_for() -> None:
    """A package of the tests may have a licence or a duty that is none for a cell (pymerkle is under the GPL)."""
    names: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in found:
                names.setdefault(name.partition(".")[0], set()).add(path.name)
    third = {name for name in names if name not in sys.stdlib_module_names} - {"bulkhead"}
    assert third == {{"dnspython": "dns", "pynacl": "nacl"}.get(name, name) for name in map(package_of, RUNTIME)}


def package_of(requirement: str) -> str:
    return requirement.partition("==")[0]


def test_an_exception_from_a_rule_of_style_or_types_says_why() -> None:
    exception = re.compile(r"# (?:noqa|type: ignore)\b(?:: [A-Z\d, ]+|\[[a-z, -]+\])?(.*)")
    for path in (ROOT / "src").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = exception.search(line)
            assert found is None or len(found[1].strip("# -")) > 3, f"{path.name}:{number}: say why"


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: ")
        for part in ("Status: ", "## Context", "## Decision", "## Refused", "## Consequences"):
            assert part in text, f"{page.name} lacks {part}"


def test_every_page_and_decision_is_in_the_index_of_the_pages() -> None:
    docs = ROOT / "docs"
    index = set(re.findall(r"\]\(([\w./-]+)\)", (docs / "README.md").read_text()))
    pages = {
        str(page.relative_to(docs)) for pattern in ("*.md", "*.tsv", "decisions/*.md") for page in docs.glob(pattern)
    }
    assert sorted(pages - index - {"README.md"}) == [], "not in docs/README.md"


def test_the_map_names_every_folder_of_the_source_and_no_file_that_is_not_there() -> None:
    """In its last table a bare `name.py` lies in a folder that the same row names before it."""
    source = ROOT / "src" / "bulkhead"
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert [path.parent.name for path in source.glob("*/__init__.py") if f"`{path.parent.name}" not in page] == []
    for row in page.split("## Where to find things")[1].split("\n|")[1:]:
        folder = source
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", row):
            at_home = ROOT if name.startswith(("tests/", "docs/")) else source
            found = (at_home / name).exists() or (folder / name).exists()
            assert found, f"{name}: not in src/bulkhead"
            folder = at_home / name.rpartition("/")[0] if "/" in name else folder


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_makefile_has_the_targets_that_the_readme_may_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"setup", "demo", "test", "test-all", "lint", "bench", "docs", "lock"} <= targets


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_says_nothing_twice_and_every_entry_stands_under_a_heading() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    groups = re.split(r"^#### ", unreleased, flags=re.M)
    assert "\n- " not in groups[0], "an entry above the first heading"
    labels = re.findall(r"^- (\*\*.+?\*\*)", unreleased, re.M)
    assert sorted(labels) == sorted(set(labels))
