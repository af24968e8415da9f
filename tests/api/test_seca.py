"""SECA's side of the resource server, seen from outside."""

from hashlib import sha256
from pathlib import Path

import httpx
import msgspec
import pytest

from hansa.model.node import Node

from .inmemory import GUEST, Api

T = "/seca.workspace/v1/tenants/t1/workspaces"
W = f"{T}/w1"
COMPUTE = "/seca.compute/v1/tenants/t1/workspaces/w1/instances"
DISKS = "/seca.storage/v1/tenants/t1/workspaces/w1/block-storages"
NETWORKS = "/seca.network/v1/tenants/t1/workspaces/w1/networks"
DISK = {"sizeGB": 10, "skuRef": {"resource": "skus/RD500"}}
VM = {
    "skuRef": {"resource": "seca.compute/v1/tenants/t1/skus/D2XS"},
    "zone": "a",
    "bootVolume": {"deviceRef": {"resource": "block-storages/d1"}},
    "userData": "c2VjcmV0",
}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


@pytest.fixture
def full(api: Api) -> Api:
    api.make(W, {})
    api.make(f"{DISKS}/d1", DISK)
    api.make(f"{COMPUTE}/vm1", VM)
    return api


def states(reply: httpx.Response) -> list[str]:
    return [each["state"] for each in reply.json()["status"]["conditions"]]


def code(reply: httpx.Response) -> tuple[int, str]:
    problem = reply.json()
    assert reply.status_code == problem["status"]
    assert reply.headers["content-type"] == "application/json"
    assert problem["type"].startswith("http://secapi.cloud/errors/")
    assert problem["title"]
    assert problem["instance"]
    return reply.status_code, problem["meta"]["code"]


def test_a_noun_is_created_read_updated_and_deleted(api: Api) -> None:
    labels = {"env": "test"}
    made = api.call("PUT", W, {"labels": labels, "spec": None})
    assert (made.status_code, made.json()["status"]["state"]) == (201, "active")
    read = api.call("GET", W)
    assert read.json()["metadata"] == made.json()["metadata"] | {"verb": "GET"}
    assert made.json()["metadata"]["verb"] == "PUT"
    assert states(read) == ["active", "creating", "pending"]
    changed = api.call("PUT", W, {"labels": labels, "spec": None})
    assert (changed.status_code, changed.json()["status"]["state"]) == (200, "active")
    read = api.call("GET", W)
    assert states(read) == ["active", "updating", "active", "creating", "pending"]
    assert (read.json()["metadata"]["resourceVersion"], read.json()["labels"]) == (2, labels)
    gone = api.call("DELETE", W)
    assert (gone.status_code, gone.content) == (202, b"")
    assert api.call("GET", W).json()["status"]["state"] == "deleting"
    assert api.call("GET", W).json()["metadata"]["deletedAt"]
    assert api.call("DELETE", W).status_code == 202


def test_what_go_sends_is_taken_and_references_are_echoed_to_the_byte(full: Api) -> None:
    body = (
        b'{"metadata":{"createdAt":"0001-01-01T00:00:00Z","resourceVersion":0,"verb":"",'
        b'"region":""},"labels":null,"status":{"conditions":null,"sizeGB":0},"spec":'
        b'{"sizeGB":10, "skuRef":{"resource":"storage-skus/RD500"},'
        b'"sourceImageRef":{"resource":""}}}'
    )
    reply = full.call("PUT", f"{DISKS}/d2", content=body)
    assert reply.status_code == 201, reply.text
    assert "labels" not in reply.json()
    assert b'{"resource":"storage-skus/RD500"}' in full.call("GET", f"{DISKS}/d2").content


@pytest.mark.parametrize(
    ("path", "said", "why", "pointer"),
    [
        (f"{T}/Upper", {}, "name-invalid", "/metadata/name"),
        (f"{T}/{'w' * 65}", {}, "name-invalid", "/metadata/name"),
        (f"{DISKS}/{'d' * 129}", {"spec": DISK}, "name-invalid", "/metadata/name"),
        (W, {"metadata": {"region": "eu-9"}}, "region-unknown", "/metadata/region"),
        (W, {"labels": {"a": "x" * 64}}, "field-invalid", "/labels"),
        (f"{DISKS}/d2", {"spec": DISK | {"sizeGB": 0}}, "field-invalid", "/spec/sizeGB"),
        (f"{DISKS}/d2", {}, "field-invalid", "/spec"),
        (f"{DISKS}/d1", {"spec": DISK | {"sizeGB": 9}}, "disk-shrink", "/spec/sizeGB"),
        (
            f"{DISKS}/d2",
            {"spec": DISK | {"skuRef": {"resource": "skus/none"}}},
            "reference-unknown",
            "/spec/skuRef",
        ),
        (f"{DISKS.replace('w1', 'w9')}/d", {"spec": DISK}, "parent-unknown", "/metadata"),
        (f"{COMPUTE}/vm1", {"spec": VM | {"zone": ""}}, "field-invalid", "/spec/zone"),
        (f"{COMPUTE}/vm1", {"spec": VM | {"zone": "z"}}, "zone-unknown", "/spec/zone"),
        (
            f"{COMPUTE}/vm1",
            {"spec": VM, "extensions": {"hansa.eu/on-partition": "what"}},
            "field-invalid",
            "",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_412_and_where(
    full: Api, path: str, said: object, why: str, pointer: str
) -> None:
    revision = full.backend.state.revision
    reply = full.call("PUT", path, said)
    assert code(reply) == (412, why)
    sources = reply.json().get("sources", [{"pointer": ""}])
    assert [pointer] == [each["pointer"].partition("/a")[0] for each in sources]
    assert full.backend.state.revision == revision


def test_the_other_profile_has_the_specifications_status(tmp_path: Path) -> None:
    assert code(Api(tmp_path, is_strict=True).call("PUT", f"{T}/Upper", {})) == (
        422,
        "name-invalid",
    )


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b"{", {}, (400, "body-not-json")),
        (b'{"spec":"\xff"}', {}, (400, "body-not-json")),
        (b'{"spec":' + b"[" * 100_000, {}, (400, "body-not-json")),
        (b"[]", {}, (412, "field-invalid")),
        (b'{"labels":"%b"}' % (b"x" * (1 << 20)), {}, (413, "body-too-big")),
        (b"{}", {"content_type": "text/plain"}, (415, "media-type-unsupported")),
        (b"{}", {"accept": "text/html"}, (406, "not-acceptable")),
        (b"{}", {"if_unmodified_since": "Thu, 01 Jan 2026"}, (400, "parameter-invalid")),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_request_is_refused(
    api: Api, content: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert code(api.call("PUT", W, content=content, **headers)) == expected


@pytest.mark.parametrize("accept", ["", "*/*", "text/html, application/*;q=0.5"])
def test_who_takes_json_in_some_way_gets_it(api: Api, accept: str) -> None:
    assert api.call("GET", T, accept=accept).status_code == 200


def test_a_stale_version_changes_nothing(api: Api) -> None:
    api.make(W, {})
    assert api.call("PUT", W, {}, if_unmodified_since="1").status_code == 200
    stale = api.call("PUT", W, {}, if_unmodified_since="1")
    assert code(stale) == (412, "stale-version")
    assert stale.json()["meta"]["facts"] == {"asked": 1, "is": 2}
    assert code(api.call("DELETE", W, if_unmodified_since="1")) == (412, "stale-version")
    assert api.call("DELETE", W, if_unmodified_since="2").status_code == 202


def test_who_asks_is_told_before_what_is_there(api: Api) -> None:
    reply = api.call("GET", W, who="")
    assert code(reply) == (401, "token-missing")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert code(api.call("GET", W, who="forged")) == (401, "token-invalid")
    assert code(api.call("GET", W, who=GUEST)) == (404, "not-found")
    assert code(api.call("PUT", W, {}, who=GUEST)) == (403, "not-allowed")
    elsewhere = W.replace("t1", "t2")
    assert code(api.call("GET", elsewhere, who=GUEST)) == (403, "not-allowed")
    assert code(api.call("DELETE", f"{T}/none")) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allow", "why"),
    [
        ("PATCH", W, "GET, PUT, DELETE", "method-not-allowed"),
        ("POST", T, "GET", "method-not-allowed"),
        ("GET", f"{COMPUTE}/vm1/start", "POST", "method-not-allowed"),
        ("PUT", "/seca.compute/v1/tenants/t1/skus/D2XS", "GET", "not-writable"),
        ("DELETE", "/hansa.tenant/v1/tenants/t1/watch", "GET", "method-not-allowed"),
    ],
)
def test_another_method_is_told_which_there_are(
    api: Api, method: str, path: str, allow: str, why: str
) -> None:
    reply = api.call(method, path)
    assert (code(reply), reply.headers["allow"]) == ((405, why), allow)


@pytest.mark.parametrize(
    "path", ["/none", f"{T}/", f"{W}/what", "/seca.what/v1/regions", f"{COMPUTE}/vm1/explode"]
)
def test_there_is_nothing_elsewhere(api: Api, path: str) -> None:
    assert code(api.call("GET", path)) == (404, "route-unknown")


def test_power_has_conditions_and_preconditions(full: Api) -> None:
    vm = f"{COMPUTE}/vm1"
    assert code(full.call("POST", f"{vm}/stop")) == (412, "already-off")
    assert code(full.call("POST", f"{vm}/start")) == (412, "image-empty")
    image = "/seca.storage/v1/tenants/t1/images/i1"
    ref = {"resource": "images/i1"}
    full.make(image, {"blockStorageRef": ref, "cpuArchitecture": "amd64"})
    content = f"/hansa.tenant/v1/tenants/t1/images/i1/content?sha256={sha256(b'it').hexdigest()}"
    assert full.call("PUT", content, content=b"it").status_code == 200
    full.make(f"{DISKS}/d1", DISK | {"sourceImageRef": ref})
    assert full.call("POST", f"{vm}/start").status_code == 202
    assert states(full.call("GET", vm)) == ["active", "updating", "active", "creating", "pending"]
    assert code(full.call("POST", f"{vm}/start")) == (412, "already-on")
    assert full.call("POST", f"{vm}/restart").status_code == 202
    assert len(states(full.call("GET", vm))) == 7
    assert code(full.call("POST", f"{COMPUTE}/none/start")) == (404, "not-found")


def test_a_parent_stays_while_it_holds_something(full: Api) -> None:
    full.make(f"{NETWORKS}/n1", {"cidr": {"ipv4": "10.0.0.0/16"}, "skuRef": {"resource": "N1K"}})
    full.make(f"{NETWORKS}/n1/subnets/s1", {"cidr": {"ipv4": "10.0.1.0/24"}, "zone": ""})
    assert code(full.call("DELETE", W)) == (412, "has-dependents")
    for path in (f"{COMPUTE}/vm1", f"{DISKS}/d1", f"{NETWORKS}/n1", W):
        assert full.call("DELETE", path).status_code == 202


def test_a_list_walks_its_pages_in_order_while_others_write(api: Api) -> None:
    for name in ("b", "a", "a.b", "c", "d"):
        api.make(f"{T}/{name}", {})
    seen, token = [], ""
    while True:
        page = api.call("GET", f"{T}?limit=2&skipToken={token}").json()
        seen += [each["metadata"]["name"] for each in page["items"]]
        token = page["metadata"].get("skipToken")
        if token is None:
            break
        api.backend.commit()
        if "b" not in seen:
            api.make(f"{T}/a-a", {})  # Behind: it is not seen, and moves nothing.
    assert seen == ["a", "a.b", "b", "c", "d"]


def test_a_list_says_what_it_is_and_may_be_empty(full: Api) -> None:
    full.make(f"{NETWORKS}/n1", {"cidr": {"ipv4": "10.0.0.0/16"}, "skuRef": {"resource": "N1K"}})
    page = full.call("GET", f"{NETWORKS}/n1/subnets").json()
    at = full.backend.state.revision
    metadata = {
        "provider": "seca.network/v1",
        "resource": "networks/n1/subnets",
        "verb": "GET",
        "revision": f"{at.incarnation}.{at.counter}",
    }
    assert page == {"items": [], "metadata": metadata}


def test_a_list_is_of_its_scope_only_and_anew_after_each_change(api: Api) -> None:
    api.make(W, {})
    api.make("/seca.workspace/v1/tenants/t10/workspaces/other", {})
    assert [each["metadata"]["name"] for each in api.call("GET", T).json()["items"]] == ["w1"]
    api.make(W, {}, labels={"new": "yes"})
    assert [each["labels"] for each in api.call("GET", T).json()["items"]] == [{"new": "yes"}]


def test_labels_filter_before_paging_and_deleted_objects_can_be_asked_for(api: Api) -> None:
    for at in range(4):
        api.make(f"{T}/w{at}", {}, labels={"odd": str(at % 2)})
    page = api.call("GET", f"{T}?labels=odd%3D1&limit=1").json()
    assert ([len(page["items"])], "skipToken" in page["metadata"]) == ([1], True)
    last = api.call("GET", f"{T}?labels=odd=1&limit=1&skipToken={page['metadata']['skipToken']}")
    assert [each["metadata"]["name"] for each in last.json()["items"]] == ["w3"]
    assert "skipToken" not in last.json()["metadata"]
    api.call("DELETE", f"{T}/w2")
    for accept, count in (("", 4), ("; deleted=true", 4), ("; deleted=only", 1)):
        items = api.call("GET", T, accept=f"application/json{accept}").json()["items"]
        assert len(items) == count


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("skipToken=x", "skipToken"),
        ("skipToken=eHg=", "skipToken"),
        ("labels=%3D%3D", "labels"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_parameter_is_named(api: Api, query: str, parameter: str) -> None:
    reply = api.call("GET", f"{T}?{query}")
    assert code(reply) == (400, "parameter-invalid")
    assert reply.json()["sources"] == [{"parameter": parameter}]


def test_secrets_are_in_the_object_and_not_in_lists(full: Api) -> None:
    assert full.call("GET", f"{COMPUTE}/vm1").json()["spec"]["userData"] == "c2VjcmV0"
    listed = full.call("GET", COMPUTE).content
    assert b"vm1" in listed
    assert b"c2VjcmV0" not in listed


def test_a_catalogue_is_read_and_the_region_is_found(api: Api) -> None:
    sku = api.call("GET", "/seca.compute/v1/tenants/t1/skus/D2XS").json()
    assert (sku["spec"], "status" in sku) == ({"vCPU": 2, "ram": 4}, False)
    assert api.call("GET", "/seca.region/v1/regions/eu-1").json()["spec"]["availableZones"]
    known = api.call("GET", "/.wellknown/secapi", who="").json()
    urls = {each["provider"]: each["url"] for each in known["endpoints"]}
    assert known["version"] == "v1"
    assert urls["seca.compute"] == "http://127.0.0.1/providers/seca.compute"
    assert urls["seca.region"] == "http://127.0.0.1/providers/seca.region"


def test_health_and_openapi_need_no_token_and_metrics_do(api: Api) -> None:
    assert api.call("GET", "/healthz", who="").json() == {"status": "ok", "region": "eu-1"}
    assert api.call("GET", "/openapi.json", who="").json()["openapi"] == "3.1.0"
    assert code(api.call("GET", "/metrics", who="")) == (401, "token-missing")
    assert api.call("GET", "/metrics").text == "hansa_commits_total 1\n"


def test_a_defect_is_a_problem_that_tells_nothing_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(api.backend), "metrics", lambda _: 1 / 0)
    reply = api.call("GET", "/metrics")
    assert code(reply) == (500, "internal")
    assert "division" not in reply.text


def test_an_invitation_tells_its_token_once(api: Api) -> None:
    path = "/hansa.operator/v1/invitations/n1"
    made = api.call("PUT", path, {"spec": {"zone": "a"}})
    assert (made.status_code, made.json()["token"]) == (201, "n1.secret")
    assert made.json()["metadata"]["kind"] == "invitation"
    assert "token" not in api.call("GET", path).json()
    assert code(api.call("PUT", path, {"spec": {}})) == (412, "field-invalid")
    assert code(api.call("PUT", path, {}, who=GUEST)) == (403, "not-allowed")


def test_operators_have_their_verbs_and_nobody_else(api: Api) -> None:
    operator = "/hansa.operator/v1"
    assert api.call("POST", f"{operator}/join", {"please": True}, who="").status_code == 201
    assert code(api.call("POST", f"{operator}/join", {}, who="")) == (403, "invitation-invalid")
    assert api.call("POST", f"{operator}/nodes/n1/lost").status_code == 202
    assert code(api.call("POST", f"{operator}/nodes/n2/lost")) == (412, "node-up")
    assert api.call("GET", f"{operator}/audit").json()["items"][0]["finding"] == "adrift"
    assert api.call("POST", f"{operator}/backup").content == b"all of it"
    assert api.call("GET", f"{operator}/nodes/n1/secrets/d1").content == b"user data"
    assert code(api.call("GET", f"{operator}/nodes/n2/secrets/d1")) == (404, "not-found")
    for method, path in (("POST", "backup"), ("GET", "audit"), ("GET", "nodes/n1/secrets/d1")):
        refused = api.call(method, f"{operator}/{path}", who=GUEST)
        assert code(refused) == (403, "not-allowed")
    assert list(api.call("GET", f"{operator}/nodes").json()) == ["items", "metadata"]
    assert not api.backend.state.of(Node)


def test_an_instance_is_explained_and_its_log_is_read(full: Api) -> None:
    path = f"/hansa.tenant/v1{COMPUTE.partition('v1')[2]}/vm1"
    assert full.call("GET", f"{path}/explain").json()["instance"] == "t1/w1/vm1"
    assert full.call("GET", f"{path}/logs?tail=3").text == "vm1"
    assert code(full.call("GET", f"{path}/logs?tail=x")) == (400, "parameter-invalid")
    elsewhere = path.replace("t1", "t2")
    assert code(full.call("GET", f"{elsewhere}/logs", who=GUEST)) == (403, "not-allowed")


def test_openapi_has_each_route_of_the_registry_and_its_examples_are_accepted(api: Api) -> None:
    said = msgspec.json.decode(api.call("GET", "/openapi.json").content)
    assert (
        "/providers"
        + NETWORKS.replace("t1", "{tenant}").replace("w1", "{workspace}")
        + ("/{network}/subnets/{name}")
        in said["paths"]
    )
    assert said["paths"]["/providers/hansa.operator/v1/audit"]["get"]
    example = said["components"]["schemas"]["Workspace"]["examples"][0]
    assert api.call("PUT", W, example).status_code == 201
