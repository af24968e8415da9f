"""Whatever is asked, as OpenAPI allows it or not: it is answered, and it is no defect."""

import asyncio
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from hansa.serve.openapi import document

from .inmemory import ROOT, URL, Api

SCHEMA = schemathesis.openapi.from_file(document("eu-1").decode())
# A watch does not end: its own tests have it.
ROUTES = [
    found.ok()
    for found in SCHEMA.get_all_operations()
    if isinstance(found, Ok) and not found.ok().path.endswith("/watch")
]
KNOWN = {"tenant": "t1", "workspace": "w1", "network": "n1"}


async def answer(api: Api, case: schemathesis.Case[Any]) -> httpx.Response:
    said = requests.Request(**case.as_transport_kwargs(base_url=URL)).prepare()
    assert said.url is not None
    named = {k.lower(): str(v) for k, v in said.headers.items()}
    content = said.body.encode() if isinstance(said.body, str) else said.body
    assert content is None or isinstance(content, bytes)
    headers = named | {"authorization": f"Bearer {ROOT}"}
    transport = httpx.ASGITransport(app=api.app)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.request(case.method, said.url, content=content, headers=headers)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_it_is_answered(
    tmp_path: Path, route: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    api = Api(tmp_path)
    api.make("/seca.workspace/v1/tenants/t1/workspaces/w1", {})

    @settings(
        max_examples=5,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=route.as_strategy(generation_mode=mode), is_at_home=st.booleans())
    def ask(case: schemathesis.Case[Any], *, is_at_home: bool) -> None:
        if is_at_home:
            case.path_parameters |= {k: v for k, v in KNOWN.items() if k in case.path_parameters}
        reply = asyncio.run(answer(api, case))
        assert reply.status_code < 500, reply.text

    # A route whose parameters are any text has nothing that could be wrong.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()
