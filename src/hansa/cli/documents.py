"""Files of objects: YAML with many documents, JSON, NDJSON, lists; each knows its line.  Pure."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import yaml

from hansa.cli.failure import CliError
from hansa.cli.grammar import ORDER, WORDS, Home, key_in
from hansa.model.naming import scope

Document = dict[str, Any]
_WRITTEN = ("labels", "annotations", "extensions", "spec")


class Wanted(NamedTuple):
    """One object that a file asks for."""

    file: str
    kind: str
    key: str
    body: Document
    version: int | None
    node: yaml.Node | None

    def place(self, pointer: str = "") -> str:
        """Return the file and the line of a member, as far as they are known."""
        if self.node is None:
            return self.file
        return f"{self.file}:{_line(self.node, pointer.split('/')[1:])}"


def read(text: str, file: str, home: Home, *, is_workspace_said: bool) -> Iterator[Wanted]:
    """Yield the objects in a text.  Raises CliError that names file and line."""
    for document, node in _parsed(text, file):
        items = document.get("items") if isinstance(document, dict) else document
        if isinstance(items, list):
            nodes = _items(node) or [None] * len(items)
            for item, inner in zip(items, nodes, strict=True):
                yield _wanted(item, inner, file, home, is_workspace_said=is_workspace_said)
        elif document is not None:
            yield _wanted(document, node, file, home, is_workspace_said=is_workspace_said)


def in_order(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Return what is referred to before what refers to it; else in the order of the files."""
    return sorted(wanted, key=lambda each: ORDER.index(each.kind) if each.kind in ORDER else 0)


def is_same(body: Document, there: Document) -> bool:
    """Tell whether an object is already as it is wanted."""
    return all((body.get(part) or {}) == (there.get(part) or {}) for part in _WRITTEN)


def _parsed(text: str, file: str) -> Iterator[tuple[Any, yaml.Node | None]]:
    if text.lstrip()[:1] in ("{", "["):
        yield from _json(text, file)
        return
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield loader.construct_document(node), node
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        why = str(getattr(error, "problem", error))
        raise CliError(
            "document-invalid", "the file is no YAML", where=f"{file}{line}", why=why
        ) from None
    finally:
        loader.dispose()


def _json(text: str, file: str) -> Iterator[tuple[Any, None]]:
    """Yield one object, or one a line."""
    try:
        yield json.loads(text), None
    except json.JSONDecodeError as whole:
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    yield json.loads(line), None
            except json.JSONDecodeError as error:
                at, why = (number, error.msg) if number > 1 else (whole.lineno, whole.msg)
                raise CliError(
                    "document-invalid", "the file is no JSON", where=f"{file}:{at}", why=why
                ) from None


def _items(node: yaml.Node | None) -> list[yaml.Node | None]:
    """Return the nodes of a list, or of the list in `items`."""
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "items"), None)
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _wanted(
    said: object, node: yaml.Node | None, file: str, home: Home, *, is_workspace_said: bool
) -> Wanted:
    where = f"{file}:{_line(node, [])}" if node else file
    if not isinstance(said, dict) or not isinstance(said.get("metadata"), dict):
        fix = "each document has metadata with kind and name; see: hansa get i NAME -o yaml"
        raise CliError("document-invalid", "this is no object", where=where, fix=fix)
    metadata = said["metadata"]
    kinds = WORDS.get(str(metadata.get("kind", "")), ())
    if len(kinds) != 1 or not metadata.get("name"):
        fix = f"kinds: {', '.join(ORDER)}"
        said_kind = f'metadata.kind "{metadata.get("kind", "")}" with no name or unknown'
        raise CliError("document-invalid", said_kind, where=where, fix=fix)
    kind = kinds[0]
    key = _key(kind, metadata, home, where, is_workspace_said=is_workspace_said)
    body = {part: said[part] for part in _WRITTEN if said.get(part) is not None}
    version = metadata.get("resourceVersion")
    return Wanted(file, kind, key, body, version if isinstance(version, int) else None, node)


def _key(kind: str, metadata: Document, home: Home, where: str, *, is_workspace_said: bool) -> str:
    space = metadata.get("workspace")
    if space and is_workspace_said and space != home.workspace and "workspace" in scope(kind):
        raise CliError(
            "usage",
            f'the document is for workspace "{space}", and -w says "{home.workspace}"',
            where=where,
            fix=f"leave -w out, or the document's workspace · -w {space}",
        )
    there = Home(metadata.get("tenant") or home.tenant, space or home.workspace)
    network = metadata.get("network")
    name = f"{network}/{metadata['name']}" if "network" in scope(kind) else str(metadata["name"])
    if "network" in scope(kind) and not network:
        raise CliError("document-invalid", f"a {kind} needs metadata.network", where=where)
    return key_in(kind, name, there)


def _line(node: yaml.Node, steps: list[str]) -> int:
    """Return the line of a member, or of what is nearest above it."""
    for step in steps:
        inner: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            inner = node.value[int(step)]
        if inner is None:
            break
        node = inner
    line: int = node.start_mark.line
    return line + 1
