"""OpenAPI 3.1 from the registry: what is served is what is described."""

from inspect import getattr_static
from typing import Any, Final, get_type_hints

import msgspec
from msgspec.structs import fields

from hansa.model.envelope import Metadata, Name, Record, Resource, Stateful
from hansa.model.naming import path, scope
from hansa.model.registry import RESOURCES, Declaration
from hansa.serve.http import BODY_MAX
from hansa.serve.listing import LIMIT_DEFAULT, LIMIT_MAX

Json = dict[str, Any]
_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_TEXT: Final = {"type": "string"}
_SHA256: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXTS: Final = {"type": ["object", "null"], "additionalProperties": _TEXT}
_OBJECT: Final = {"type": "object"}
_INSTANCE: Final = "/providers/hansa.tenant/v1" + path("instance")
_CONTENT: Final = "/providers/hansa.tenant/v1" + path("image") + "/content"


def document(region: str) -> bytes:
    """Return the document as JSON."""
    types = [each for noun in RESOURCES for each in (_spec_of(noun.type), _status_of(noun.type))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for at, noun in enumerate(RESOURCES):
        spec, status = schemas[2 * at : 2 * at + 2]
        components[noun.type.__name__] = _envelope(noun, spec, status)
    components["Problem"] = _problem()
    paths: Json = {}
    for noun in RESOURCES:
        paths |= _paths(noun)
    said = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Hansa region {region}",
            "version": "1",
            "description": f"SECA v1, and groups of our own.  A body has at most {BODY_MAX} bytes.",
        },
        "paths": paths | _own_paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }
    return msgspec.json.encode(said)


def _spec_of(noun: type[Resource]) -> Any:  # noqa: ANN401 - a type, to msgspec
    return next(each.type for each in fields(noun) if each.name == "spec")


def _status_of(noun: type[Resource]) -> Any:  # noqa: ANN401 - a type, to msgspec
    """Return the type of what is shown as status: None for a catalogue's entry."""
    if not issubclass(noun, Stateful):
        return None
    return get_type_hints(getattr_static(noun, "status").fget)["return"]


def _envelope(noun: Declaration, spec: Json, status: Json) -> Json:
    members = [each.encode_name for of in (Metadata, Record) for each in fields(of)]
    more = ("kind", "provider", "apiVersion", "region", "resource", "ref", "verb")
    metadata = {name: {"type": ["string", "integer"]} for name in (*members, *more)}
    is_optional = noun.type.kind == "workspace"
    shown = {"metadata": {"type": "object", "properties": metadata}, "status": status}
    if not issubclass(noun.type, Stateful):
        del shown["status"]
    return {
        "type": "object",
        "properties": {
            **dict.fromkeys(("labels", "annotations", "extensions"), _TEXTS),
            "spec": {"anyOf": [spec, {"type": "null"}]} if is_optional else spec,
            **{name: each | {"readOnly": True} for name, each in shown.items()},
        },
        "required": [] if is_optional else ["spec"],
        "examples": [msgspec.json.decode(noun.type.example)],
    }


def _problem() -> Json:
    members: Json = dict.fromkeys(("type", "title", "instance", "detail"), _TEXT)
    source = {"type": "object", "properties": dict.fromkeys(("pointer", "parameter"), _TEXT)}
    members |= {
        "status": {"type": "integer"},
        "sources": {"type": "array", "items": source},
        "meta": {"type": "object", "properties": {"code": _TEXT}, "required": ["code"]},
    }
    return {
        "type": "object",
        "properties": members,
        "required": ["type", "title", "status", "instance", "meta"],
    }


def _paths(noun: Declaration) -> Json:
    kind, writable = noun.type.kind, noun.type.writable
    one = f"/providers/{noun.provider}{path(kind)}"
    name = msgspec.json.schema(Name) if writable else _TEXT
    inside = [_parameter(each, "path", _TEXT) for each in scope(kind)]
    named = [*inside, _parameter("name", "path", name)]
    version = _parameter("if-unmodified-since", "header", {"type": "integer", "minimum": 0})
    ref = {"$ref": _REF.format(name=noun.type.__name__)}
    methods: Json = {"parameters": named, "get": _operation({"200": ref})}
    if writable:
        body = {"required": True, "content": {_JSON: {"schema": ref}}}
        put = {"parameters": [version], "requestBody": body}
        methods["put"] = _operation({"200": ref, "201": ref}) | put
        methods["delete"] = _operation({"202": None}) | {"parameters": [version]}
    paths: Json = {
        one.rpartition("/")[0]: {"parameters": inside, "get": _listed(ref)},
        one: methods,
    }
    for verb in noun.type.verbs:
        post = _operation({"202": None}) | {"parameters": [version]}
        paths[f"{one}/{verb}"] = {"parameters": named, "post": post}
    return paths


def _listed(ref: Json) -> Json:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    metadata = dict.fromkeys(("provider", "resource", "verb", "skipToken", "revision"), _TEXT)
    page = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": ref},
            "metadata": {"type": "object", "properties": metadata},
        },
        "required": ["items", "metadata"],
    }
    asked = [
        _parameter("limit", "query", limit),
        _parameter("skipToken", "query", _TEXT),
        _parameter("labels", "query", _TEXT),
    ]
    return _operation({"200": page}) | {"parameters": asked}


def _own_paths() -> Json:
    """Return what no noun's declaration says."""
    part = _parameter("part", "query", {"enum": ["disk", "kernel", "initrd"], "default": "disk"})
    sha256 = _parameter("sha256", "query", _SHA256)
    operator = "/providers/hansa.operator/v1"
    raw = {"required": True, "content": {_BYTES: {"schema": {}}}}
    said: dict[str, Json] = {
        f"{_CONTENT} put": _operation({"200": _OBJECT, "202": _OBJECT}, part, sha256)
        | {"requestBody": raw},
        f"{_CONTENT} head": _operation({"200": None}, part),
        f"{_CONTENT} get": _operation({"200": {}}, part, media=_BYTES),
        f"{_INSTANCE}/explain get": _operation({"200": _OBJECT}),
        f"{_INSTANCE}/logs get": _operation(
            {"200": _TEXT},
            _parameter("tail", "query", {"type": "integer", "minimum": 0}),
            media="text/plain",
        ),
        "/providers/hansa.tenant/v1/tenants/{tenant}/watch get": _operation(
            {"200": _OBJECT},
            *(_parameter(name, "query", _TEXT) for name in ("since", "kind", "workspace")),
            media="application/x-ndjson",
        ),
        f"{operator}/audit get": _operation({"200": _OBJECT}),
        f"{operator}/backup post": _operation({"200": {}}, media=_BYTES),
        f"{operator}/join post": _operation({"201": _OBJECT})
        | {"security": [], "requestBody": {"required": True, "content": {_JSON: {"schema": {}}}}},
        f"{operator}/nodes/{{name}}/lost post": _operation({"202": None}),
        f"{operator}/nodes/{{name}}/secrets/{{digest}} get": _operation({"200": {}}, media=_BYTES),
        f"{operator}/blobs/{{digest}} get": _operation({"200": {}, "206": {}}, media=_BYTES),
        "/metrics get": _operation({"200": _TEXT}, media="text/plain"),
        "/healthz get": _operation({"200": _OBJECT}) | {"security": []},
        "/.wellknown/secapi get": _operation({"200": _OBJECT}) | {"security": []},
    }
    paths: Json = {}
    for route, operation in said.items():
        where, _, method = route.partition(" ")
        named = [step[1:-1] for step in where.split("/") if step.startswith("{")]
        inside = [_parameter(name, "path", _TEXT) for name in named]
        paths.setdefault(where, {"parameters": inside})[method] = operation
    return paths


def _parameter(name: str, where: str, schema: Json) -> Json:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _operation(answers: dict[str, Json | None], *parameters: Json, media: str = _JSON) -> Json:
    said: Json = {
        status: {"description": "done"}
        | ({} if schema is None else {"content": {media: {"schema": schema}}})
        for status, schema in answers.items()
    }
    problem = {_JSON: {"schema": {"$ref": _REF.format(name="Problem")}}}
    refused = {"4XX": "refused, and why", "5XX": "it could not be done now"}
    for status, why in refused.items():
        said[status] = {"description": why, "content": problem}
    return {"responses": said, "parameters": [*parameters]}
