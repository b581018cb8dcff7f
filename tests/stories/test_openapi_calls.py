"""Schemathesis with a share's token: what the OpenAPI document allows and what it does not, on a real service."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.request import Request, urlopen

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.models import identity
from workbench.api import Workbench

CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

NO_HANG_S = 60


def operations(wb: Workbench) -> tuple[str, dict[str, str], list[Any]]:
    """The address, a share's headers, and each operation of its document, of three models of several datatypes."""
    wb.load("texts", identity("BYTES", ("batch", 2)))
    wb.load("flags", identity("BOOL"))
    share = wb.share(["plus", "texts", "flags"], label="fuzz", max_in_flight=64, show_token=True)
    headers = {"Authorization": f"Bearer {share.token}"}
    with urlopen(Request(f"{share.url}/openapi.json", headers=headers), timeout=30) as answer:
        document = json.load(answer)
    schema = schemathesis.openapi.from_dict(document)
    return share.url, headers, [each.ok() for each in list[Any](schema.get_all_operations())]


def ask(url: str, headers: dict[str, str], operation: Any, examples: int, seen: list[int]) -> None:
    session = requests.Session()
    for mode in GenerationMode if operation.body else [GenerationMode.POSITIVE]:  # only a body can be wrong

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def called(case: Case[Any]) -> None:
            response = case.call(base_url=url, headers=headers, session=session, timeout=NO_HANG_S)
            seen.append(response.status_code)
            assert response.status_code != 500, case.as_curl_command()  # a timeout of 1 us is rightly 504
            case.validate_response(response, checks=CHECKS)

        called()


def test_no_call_that_the_document_describes_fails_the_service(wb: Workbench) -> None:
    url, headers, found = operations(wb)
    assert len(found) == 3 + 3 * 5
    seen: list[int] = []
    for operation in found:
        ask(url, headers, operation, 15, seen)
    assert {200, 400} <= set(seen)
    assert len(seen) > 100


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_calls_end_without_an_error_of_the_service(wb: Workbench) -> None:
    url, headers, found = operations(wb)
    seen: list[int] = []
    until = time.monotonic() + 600
    while time.monotonic() < until:
        for operation in found:
            ask(url, headers, operation, 200, seen)
    print(f"{len(seen)} calls: { ({status: seen.count(status) for status in sorted(set(seen))}) }")
