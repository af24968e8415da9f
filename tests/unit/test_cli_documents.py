"""Files of objects."""

import json

import pytest

from hansa.cli.documents import Wanted, in_order, is_same, read
from hansa.cli.failure import CliError
from hansa.cli.grammar import Home

YAML = """\
# A shop.
metadata: {kind: instance, name: web}
labels: {env: prod}
spec:
  zone: a
  bootVolume:
    deviceRef:
      resource: block-storages/web
status: {state: active}
---
metadata:
  kind: disk
  name: web
  resourceVersion: 7
spec: {sizeGB: 1}
---
metadata: {kind: subnet, name: a, network: net}
"""


def wanted(text: str, *, workspace: str = "default", is_said: bool = False) -> list[Wanted]:
    return list(read(text, "shop.yaml", Home("main", workspace), is_workspace_said=is_said))


def test_a_file_has_many_documents_and_each_knows_its_lines() -> None:
    web, disk, subnet = wanted(YAML)
    assert (web.kind, web.key) == ("instance", "main/default/web")
    assert {"labels", "spec"} == set(web.body)
    assert disk.version == 7
    assert subnet.key == "main/default/net/a"
    assert web.place() == "shop.yaml:2"
    assert web.place("/spec/zone") == "shop.yaml:5"
    assert web.place("/spec/bootVolume/deviceRef/resource") == "shop.yaml:8"
    assert web.place("/spec/nope") == "shop.yaml:5"


def test_what_is_referred_to_comes_first() -> None:
    assert [each.kind for each in in_order(wanted(YAML))] == ["subnet", "block-storage", "instance"]


def test_json_lists_and_lines_are_read_too() -> None:
    one = {"metadata": {"kind": "image", "name": "a"}, "spec": {}}
    two = {"metadata": {"kind": "image", "name": "b"}, "spec": {}}
    expected = ["main/a", "main/b"]
    texts = (
        json.dumps([one, two], indent=2),
        json.dumps({"items": [one, two]}),
        f"{json.dumps(one)}\n{json.dumps(two)}\n",
        f"items:\n- {json.dumps(one)}\n- {json.dumps(two)}\n",
    )
    for text in texts:
        assert expected == [each.key for each in wanted(text)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1\nb: 2\n", "shop.yaml:2"),
        ("x: 1\n---\nmetadata: {kind: image}\n", "shop.yaml:1"),
        ("metadata: {kind: nope, name: a}\n", "shop.yaml:1"),
        ("metadata: {kind: subnet, name: a}\n", "shop.yaml:1"),
        ('{"metadata": {"kind": "image", "name": "a"}}\n{"b": \n', "shop.yaml:2"),
    ],
)
def test_what_cannot_be_read_names_its_line(text: str, place: str) -> None:
    with pytest.raises(CliError) as told:
        wanted(text)
    assert ("document-invalid", place) == (told.value.code, told.value.where)


def test_a_document_of_another_workspace_than_said_is_an_error() -> None:
    text = "metadata: {kind: nic, name: a, workspace: prod}\n"
    assert wanted(text)[0].key == "main/prod/a"
    assert wanted(text, workspace="prod", is_said=True)[0].key == "main/prod/a"
    with pytest.raises(CliError) as told:
        wanted(text, workspace="dev", is_said=True)
    assert told.value.code == "usage"


def test_nothing_is_to_be_done_where_all_is_so_already() -> None:
    there = {"spec": {"a": 1}, "labels": {"x": "y"}, "status": {}, "metadata": {}}
    assert is_same({"spec": {"a": 1}, "labels": {"x": "y"}}, there)
    assert not is_same({"spec": {"a": 1}}, there)
    assert not is_same({"spec": {"a": 2}, "labels": {"x": "y"}}, there)
