"""OpenAPI 3.1 from the registry: what is served is what is described."""

from typing import Any

import msgspec

from hansa.model.envelope import Resource
from hansa.model.naming import path, scope
from hansa.model.registry import RESOURCES, Declaration

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_METADATA = {"type": "object"}


def document(region: str) -> bytes:
    """Return the document as JSON."""
    specs = [_spec_of(noun.type) for noun in RESOURCES]
    schemas, components = msgspec.json.schema_components(
        specs, ref_template="#/components/schemas/{name}"
    )
    for noun, schema in zip(RESOURCES, schemas, strict=True):
        components[noun.type.__name__] = _envelope(schema)
    components["Problem"] = _problem()
    paths: dict[str, Any] = {}
    for noun in RESOURCES:
        paths |= _paths(noun)
    said = {
        "openapi": "3.1.0",
        "info": {"title": f"Hansa region {region}", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }
    return msgspec.json.encode(said)


def _spec_of(noun: type[Resource]) -> Any:  # noqa: ANN401 - a type, to msgspec
    return next(each.type for each in msgspec.structs.fields(noun) if each.name == "spec")


def _envelope(spec: object) -> dict[str, object]:
    texts = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
    return {
        "type": "object",
        "properties": {
            "labels": texts,
            "annotations": texts,
            "extensions": texts,
            "metadata": _METADATA,
            "spec": spec,
            "status": {"type": "object"},
        },
        "required": ["spec"],
    }


def _problem() -> dict[str, object]:
    members = {name: {"type": "string"} for name in ("type", "title", "instance", "detail")}
    return {
        "type": "object",
        "properties": members | {"status": {"type": "integer"}, "meta": {"type": "object"}},
        "required": ["type", "title", "status", "instance"],
    }


def _paths(noun: Declaration) -> dict[str, object]:
    kind = noun.type.kind
    base = f"/providers/{noun.provider}"
    one = base + path(kind)
    members = [*scope(kind), "name"]
    parameters = [
        {"name": member, "in": "path", "required": True, "schema": {"type": "string"}}
        for member in members
    ]
    ref = {"$ref": f"#/components/schemas/{noun.type.__name__}"}
    items = {"type": "object", "properties": {"items": {"type": "array", "items": ref}}}
    methods: dict[str, object] = {"parameters": parameters, "get": _operation({"200": ref})}
    if noun.type.writable:
        body = {"required": True, "content": {"application/json": {"schema": ref}}}
        methods["put"] = _operation({"200": ref, "201": ref}) | {"requestBody": body}
        methods["delete"] = _operation({"202": None})
    paths: dict[str, object] = {
        one.rpartition("/")[0]: {"parameters": parameters[:-1], "get": _listed(items)},
        one: methods,
    }
    for verb in noun.type.verbs:
        paths[f"{one}/{verb}"] = {"parameters": parameters, "post": _operation({"202": None})}
    return paths


def _listed(items: object) -> dict[str, object]:
    asked = [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
        {"name": "skipToken", "in": "query", "schema": {"type": "string"}},
        {"name": "labels", "in": "query", "schema": {"type": "string"}},
    ]
    return _operation({"200": items}) | {"parameters": asked}


def _operation(answers: dict[str, object]) -> dict[str, object]:
    said: dict[str, object] = {
        status: {
            "description": "done",
            **({"content": {"application/json": {"schema": schema}}} if schema else {}),
        }
        for status, schema in answers.items()
    }
    said["4XX"] = {
        "description": "refused, and why",
        "content": {"application/json": {"schema": _PROBLEM}},
    }
    return {"responses": said}
