"""Errors of the command line: what people see, what tools read, and the exit code."""

import json

import pytest

from hansa.cli.failure import (
    CODE_COLUMN,
    CliError,
    as_json,
    as_text,
    exit_of,
    failure_of,
    field_of,
)
from hansa.cli.main import is_json
from hansa.client.errors import ApiError, UnreachableError
from hansa.errors import SettingsError
from hansa.model.refusal import CATALOGUE

PATH = "/providers/seca.compute/v1/tenants/main/workspaces/default/instances/big"
PROBLEM = {
    "detail": 'no node has room for "big"',
    "instance": PATH,
    "sources": [{"pointer": "/spec/addresses/0"}],
    "meta": {
        "code": "no-capacity",
        "retry": True,
        "facts": {"nodes": 2},
        "reasons": [
            {"node": "node-a", "rule": "memory", "reason": "has 20 GB free, needs 64"},
            {"node": "node-b", "rule": "zone", "reason": "in zone b"},
        ],
        "fix": "SKU DS fits now",
    },
}
GOLDEN = f"""\
{'error: no node has room for "big"':<{CODE_COLUMN}}no-capacity (6)
  where  shop.yaml:14 spec.addresses[0], instances/big
  why    nodes 2
         node-a memory  has 20 GB free, needs 64
         node-b zone  in zone b
  fix    SKU DS fits now"""


def refused() -> ApiError:
    error = ApiError(412, PROBLEM, f"PUT {PATH}")
    error.place = "shop.yaml:14"
    return error


def test_an_error_has_four_lines_and_ends_in_one_that_can_be_pasted() -> None:
    assert as_text(failure_of(refused())) == GOLDEN


def test_an_error_as_json_says_the_same() -> None:
    said = json.loads(as_json(failure_of(refused())))
    assert said == {
        "format": "hansa.error/1",
        "code": "no-capacity",
        "exit": 6,
        "message": 'no node has room for "big"',
        "where": "shop.yaml:14 spec.addresses[0], instances/big",
        "why": [
            "nodes 2",
            "node-a memory  has 20 GB free, needs 64",
            "node-b zone  in zone b",
        ],
        "fix": "SKU DS fits now",
        "retry": True,
    }


def test_a_long_sentence_keeps_its_code_apart() -> None:
    text = as_text(failure_of(CliError("usage", "x" * 200)))
    assert text.endswith("x  usage (2)")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CliError("usage", "no"), 2),
        (CliError("timeout", "no"), 9),
        (CliError("guest-silent", "no"), 9),
        (UnreachableError("http://region.example", "refused"), 8),
        (ApiError(404, {}, "GET /x"), 4),
        (ApiError(401, {}, "GET /x"), 5),
        (ApiError(409, {}, "GET /x"), 3),
        (ApiError(503, {}, "GET /x"), 8),
        (ApiError(500, {}, "GET /x"), 8),
        (ApiError(412, {"meta": {"code": "stale-version"}}, "PUT /x"), 7),
        (SettingsError("region.yaml: no"), 2),
    ],
)
def test_the_exit_code_is_of_the_code_and_not_of_the_status(error: Exception, code: int) -> None:
    assert isinstance(error, (CliError, UnreachableError, ApiError, SettingsError))
    assert code == failure_of(error).exit


def test_every_code_of_the_catalogue_has_its_exit_code() -> None:
    assert {code: entry.exit for code, entry in CATALOGUE.items()} == {
        code: exit_of(code) for code in CATALOGUE
    }


def test_a_pointer_is_shown_as_people_write_it() -> None:
    assert field_of("/spec/addresses/0") == "spec.addresses[0]"
    assert field_of("/extensions/hansa.eu~1on-partition") == "extensions.hansa.eu/on-partition"
    assert field_of("") == ""


@pytest.mark.parametrize(
    ("argv", "env", "expected"),
    [
        ("get i -o json", {}, True),
        ("get i -ojson", {}, True),
        ("get i --output=json", {}, True),
        ("get i --output json", {}, True),
        ("get i", {"HANSA_OUTPUT": "json"}, True),
        ("get i -o yaml", {"HANSA_OUTPUT": "json"}, False),
        ("get json", {}, False),
        ("get i -o", {}, False),
    ],
)
def test_errors_are_json_where_json_is_asked_for(
    argv: str, env: dict[str, str], *, expected: bool
) -> None:
    assert expected is is_json(argv.split(), env)
