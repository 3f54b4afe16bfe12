"""The document against the running console, by a tool that knows neither: every call, many inputs, real TLS."""

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.console.cell import ConsoleCell, console_cell
from tests.gate.cell import authority

from bulkhead.console.openapi import document

OPERATIONS = sorted(
    (result.ok().path, result.ok().method)
    for result in schemathesis.openapi.from_dict(json.loads(document())).get_all_operations()
)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "ca.pem").write_text(authority().pem)
    with console_cell(folder) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_console_answers_is_what_the_document_says(cell: ConsoleCell, path: str, method: str) -> None:
    client = cell.client("ada")
    schema = schemathesis.openapi.from_dict(json.loads(document()))
    schema.config.update(base_url=f"https://127.0.0.1:{cell.port}", tls_verify=str(cell.root / "ca.pem"))
    headers = {"Authorization": f"Bearer {client.token}"}

    @settings(
        max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schema[path][method].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(headers=headers)
        assert answer.status_code != 500
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])  # no schema tells every address

    if (path, method) != ("/v1/session", "delete"):
        ask()
    client.close()
