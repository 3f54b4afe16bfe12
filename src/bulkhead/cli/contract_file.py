"""A tenant's contract as a file of the installation: made with the tenant, every term in a comment."""

from pathlib import Path

from bulkhead.config import write_file
from bulkhead.contract.terms import TERMS

FOLDER = "contracts"  # not `tenants`, where every file is a tenant


def contract_file(directory: Path, tenant: str) -> Path:
    """Where it lies."""
    return directory / FOLDER / f"{tenant}.toml"


def write_template(directory: Path, tenant: str) -> bool:
    """Make it where it is missing; whether it was."""
    path = contract_file(directory, tenant)
    if path.exists():
        return False
    write_file(path, template_text())
    return True


def agree_advice(tenant: str) -> str:
    """What to do where none is in force."""
    return f"agree on {FOLDER}/{tenant}.toml, then bulkhead contract adopt {tenant}"


def template_text() -> str:
    """Every term as a comment, so that what is promised is chosen."""
    lines = [
        "# What operator and partner agreed on. Take out the # of a promise and of its [section], set its number,",
        "# then put it into force: bulkhead contract adopt TENANT. docs/contract.md says what each is measured from.",
        "schema = 1",
    ]
    section = ""
    for term in TERMS.values():
        inside, _, key = term.name.rpartition(".")
        if inside != section:
            lines += ["", f"# [{inside}]"]
            section = inside
        bound = "At least" if term.least else "At most"
        lines += [f"# {term.sentence} {bound} so many {term.unit}.", f"# {key} = {term.minimum}"]
    return "\n".join(lines) + "\n"
