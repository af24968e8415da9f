"""Commands from end to end, against a region that is a dictionary."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hansa.cli.main import make_app, run
from hansa.cli.session import Session
from hansa.client.client import Client

HOME = "tenants/main/workspaces/default"


class FakeRegion:
    """Keeps what is written, turns on what is started, and remembers the order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.done: list[str] = []
        spec = {"availableZones": ["a", "b"]}
        self.add("regions/local", {"spec": spec}, "region")
        self.add("tenants/main/workspaces/default", {"spec": {}}, "workspace")
        for kind in ("instance", "storage", "network"):
            body = {"spec": {"ram": 1, "iops": 1, "bandwidth": 1}}
            self.add(f"{kind}:tenants/main/skus/S", body, f"{kind}-sku")
        self.add("tenants/main/images/it", {"spec": {}}, "image")

    def add(self, path: str, body: dict[str, Any], kind: str) -> dict[str, Any]:
        steps = path.split("/")
        scope = dict(zip(steps[:-2:2], steps[1:-2:2], strict=True))
        metadata = {"name": steps[-1], "kind": kind, "tenant": "main"}
        metadata |= {part[:-1]: scope[part] for part in ("workspaces", "networks") if part in scope}
        status = {"state": "active", "powerState": "off", "powerWanted": "off"}
        self.objects[path] = {**body, "metadata": metadata, "status": status}
        return self.objects[path]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        match = re.fullmatch(r"/providers/([a-z]+\.([a-z]+))/v1/(.*)", request.url.path)
        assert match
        path = match[3]
        if "/skus" in path:
            path = f"{match[2].replace('compute', 'instance')}:{path}"
        if request.method != "GET":
            self.done.append(f"{request.method} {path.removeprefix(HOME + '/')}")
        return self.answer(request, path)

    def answer(self, request: httpx.Request, path: str) -> httpx.Response:
        match request.method:
            case "PUT":
                kind = re.sub("s$", "", path.split("/")[-2])
                said = self.add(path, json.loads(request.content), kind)
                return httpx.Response(201, stream=httpx.ByteStream(json.dumps(said).encode()))
            case "DELETE":
                return httpx.Response(202 if self.objects.pop(path, None) else 404)
            case "POST":
                status = self.objects[path.rpartition("/")[0]]["status"]
                status |= {"powerState": "on", "powerWanted": "on", "node": "node-a"}
                return httpx.Response(202)
            case _ if path in self.objects:
                return httpx.Response(200, json=self.objects[path])
            case _ if path.rpartition("/")[2].endswith("s"):
                return httpx.Response(200, json={"items": list(self.listed(request, path))})
            case _:
                return httpx.Response(404)

    def listed(self, request: httpx.Request, path: str) -> Iterator[dict[str, Any]]:
        name, _, value = request.url.params.get("labels", "").partition("=")
        for at, each in self.objects.items():
            if at.rpartition("/")[0] == path and each.get("labels", {}).get(name, "") == value:
                yield each


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRegion:
    fake = FakeRegion()
    monkeypatch.setenv("HANSA_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("HANSA_ENDPOINT", "http://region.example")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    transport = httpx.MockTransport(fake)

    def client(_: Session) -> Client:
        return Client("http://region.example", transport=transport)

    monkeypatch.setattr(Session, "client", property(client))
    return fake


def test_run_makes_what_is_missing_in_order_and_rm_undoes_just_that(
    region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(region.objects)
    assert run(["run", "it", "web", "--public", "--zone", "b"]) == 0
    assert region.done == [
        "PUT networks/default",
        "PUT networks/default/subnets/a",
        "PUT networks/default/subnets/b",
        "PUT block-storages/web-boot",
        "PUT public-ips/web-ip",
        "PUT nics/web-nic0",
        "PUT instances/web",
        "POST instances/web/start",
    ]
    nic = region.objects[f"{HOME}/nics/web-nic0"]
    assert nic["spec"]["subnetRef"] == {"resource": "networks/default/subnets/b"}
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split()[:5] == ["web", "active", "on", "b", "node-a"]
    assert "undo: hansa rm web" in said.err
    region.done.clear()
    assert run(["rm", "web"]) == 0
    assert region.done[0] == "DELETE instances/web"
    network = {f"{HOME}/networks/default{each}" for each in ("", "/subnets/a", "/subnets/b")}
    assert set(region.objects) == before | network


def test_run_does_not_touch_an_instance_that_is_there(region: FakeRegion) -> None:
    region.add(f"{HOME}/instances/web", {"spec": {}}, "instance")
    assert run(["run", "it", "web"]) == 3
    assert region.done == []


def test_run_without_its_image_says_so_before_anything_is_made(
    region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "nope", "-o", "json"]) == 4
    error = json.loads(capsys.readouterr().err)
    assert (error["format"], error["code"]) == ("hansa.error/1", "not-found")
    assert region.done == []


def test_what_run_shows_is_what_apply_reads(
    region: FakeRegion, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["run", "it", "web", "--show"]) == 0
    assert region.done == []
    file = tmp_path / "web.yaml"
    file.write_text(capsys.readouterr().out)
    assert run(["apply", "-f", str(file), "--start"]) == 0
    first, last = region.done[0], region.done[-1]
    assert (first, last) == ("PUT networks/default", "POST instances/web/start")
    region.done.clear()
    assert run(["apply", "-f", str(file), "--start"]) == 0
    assert region.done == []


def test_a_command_lands_where_its_flags_say_before_or_after_the_verb(
    region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.add("tenants/main/workspaces/dev/instances/db", {"spec": {}}, "instance")
    for argv in (["-w", "dev", "get", "i", "-o", "name"], ["get", "i", "-w", "dev", "-o", "name"]):
        assert run(argv) == 0
        assert capsys.readouterr().out == "instances/db\n"


def test_deleting_more_than_one_takes_a_yes(region: FakeRegion) -> None:
    for name in ("a", "b"):
        region.add(f"{HOME}/instances/{name}", {"spec": {}}, "instance")
    assert run(["delete", "i", "a", "b"]) == 2
    assert region.done == []
    assert run(["delete", "i", "a", "b", "--yes"]) == 0
    assert region.done == ["DELETE instances/a", "DELETE instances/b"]


def test_a_protected_context_takes_its_name_for_every_change(
    region: FakeRegion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = "{name: prod, endpoint: 'http://region.example', protected: true}"
    (tmp_path / "config.yaml").write_text(f"contexts: [{context}]\ncurrent: prod\n")
    monkeypatch.delenv("HANSA_ENDPOINT")
    region.add(f"{HOME}/instances/a", {"spec": {}}, "instance")
    assert run(["delete", "i", "a", "--yes"]) == 2
    assert run(["delete", "i", "a", "--confirm", "other"]) == 2
    assert region.done == []
    assert run(["delete", "i", "a", "--confirm", "prod"]) == 0


def test_waiting_that_is_over_ends_with_nine(region: FakeRegion) -> None:
    region.add(f"{HOME}/instances/a", {"spec": {}}, "instance")
    assert run(["wait", "i/a", "--for", "on", "--timeout", "0"]) == 9
    assert run(["wait", "i/a", "--for", "off", "--timeout", "0"]) == 0
    assert run(["wait", "i/nope", "--for", "gone", "--timeout", "0"]) == 0


def test_a_defect_is_one_line_and_a_file(
    region: FakeRegion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: FakeRegion, *__: object) -> httpx.Response:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(FakeRegion, "answer", broken)
    assert run(["get", "i"]) == 70
    said = capsys.readouterr().err
    assert "Traceback" not in said
    report = Path(next(line for line in said.splitlines() if "where" in line).split()[1])
    assert "ZeroDivisionError" in report.read_text()
    assert region.done == []


def test_ctrl_c_ends_with_130(region: FakeRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: FakeRegion, *__: object) -> httpx.Response:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeRegion, "answer", interrupted)
    assert run(["get", "i"]) == 130
    assert region.done == []


def commands() -> list[list[str]]:
    app = make_app()
    found = [[str(each.name)] for each in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance
        inner = group.typer_instance.registered_commands
        found += [[str(group.name), str(each.name)] for each in inner]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_begins_with_two_examples(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith("Usage: hansa")
    said = " ".join(["hansa", *words])
    assert all(said in line for line in lines[1:3]), lines[:3]


def test_the_overview_lists_every_command_that_is_not_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0
    listed = set(re.findall(r"^  ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))
    assert {words[0] for words in commands()} - {"region"} == listed


def test_a_typo_of_a_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gett", "i"]) == 2
    assert "'get'" in capsys.readouterr().err
