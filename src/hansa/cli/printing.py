"""Results in the form that was asked for: documents as JSON and YAML as they came."""

import json
from collections.abc import Sequence
from typing import Any

from hansa.cli.grammar import key_of, short_name
from hansa.cli.session import Session

Document = dict[str, Any]


def show(session: Session, documents: Sequence[Document], *, is_list: bool = False) -> None:
    """Print documents in any form but a table."""
    said: object = {"items": list(documents)} if is_list else documents[0]
    match session.output:
        case "name":
            session.screen.result(short_name(kind_of(each), key_of(each)) for each in documents)
        case "yaml":
            session.screen.result([as_yaml(said)])
        case _:
            session.screen.result([json.dumps(said, indent=2, ensure_ascii=False)])


def as_yaml(said: object) -> str:
    """Return YAML in the order of the server."""
    import yaml  # noqa: PLC0415 - slow, and seldom needed

    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip()


def kind_of(document: Document) -> str:
    """Return an object's kind."""
    kind = document["metadata"]["kind"]
    assert isinstance(kind, str)
    return kind
