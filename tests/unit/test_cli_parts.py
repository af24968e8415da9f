"""The pure parts of the command line."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hansa.cli import columns, recipe
from hansa.cli.console import keys
from hansa.cli.describing import explain_lines
from hansa.cli.failure import CliError
from hansa.cli.grammar import SKUS, Home, Target, key_in, kinds_of, natural, parse, short_name
from hansa.cli.instances import new_part
from hansa.cli.table import Head, render
from hansa.cli.units import age, duration_s, measured
from hansa.model.registry import BY_KIND

HOME = Home("main", "default")


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (["instances"], [(("instance",), "")]),
        (["i", "web", "db"], [(("instance",), "web"), (("instance",), "db")]),
        (["i", "web,db"], [(("instance",), "web"), (("instance",), "db")]),
        (["disk/a", "nic/b"], [(("block-storage",), "a"), (("nic",), "b")]),
        (["sn", "default/a"], [(("subnet",), "default/a")]),
        (["sn/default/a"], [(("subnet",), "default/a")]),
        (["i,nics"], [(("instance", "nic"), "")]),
        (["public-ips"], [(("public-ip",), "")]),
        (["sku"], [(SKUS, "")]),
    ],
)
def test_a_kind_is_said_in_many_ways(words: list[str], targets: list[tuple[Any, str]]) -> None:
    assert tuple(Target(*each) for each in targets) == parse(words)


def test_all_is_what_lives_in_a_workspace() -> None:
    assert "workspace" not in kinds_of("all")
    assert {"instance", "nic", "network", "subnet", "block-storage", "public-ip"} == {
        *kinds_of("all")
    }


def test_every_kind_of_the_registry_has_words_and_columns() -> None:
    for kind, noun in BY_KIND.items():
        assert kind in kinds_of(kind)
        assert kind in kinds_of(noun.collection)
        assert kind in columns.DEFAULT


@pytest.mark.parametrize("words", [["instnace"], ["instance/"], ["all", "web"], ["i,nic", "web"]])
def test_what_is_no_kind_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(CliError) as told:
        parse(words)
    assert told.value.code == "usage"


def test_a_typo_gets_the_nearest_kind() -> None:
    with pytest.raises(CliError) as told:
        kinds_of("instnace")
    assert "did you mean instance?" in told.value.fix


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("instance", "web", "main/default/web"),
        ("subnet", "default/a", "main/default/default/a"),
        ("image", "tiny", "main/tiny"),
        ("node", "node-a", "node-a"),
        ("instance", "other/web", "main/other/web"),
    ],
)
def test_a_name_is_completed_to_a_key(kind: str, name: str, key: str) -> None:
    assert key == key_in(kind, name, HOME)


def test_a_subnet_without_its_network_is_wrong_usage() -> None:
    with pytest.raises(CliError, match="no subnet"):
        key_in("subnet", "a", HOME)


def test_a_printed_name_is_read_again() -> None:
    for kind, key in (("subnet", "main/default/n/a"), ("block-storage", "main/default/d")):
        (target,) = parse([short_name(kind, key)])
        assert (kind,) == target.kinds
        assert key == key_in(kind, target.name, HOME)


def test_names_are_ordered_as_people_count() -> None:
    names = ["web-10", "web-2", "web", "2", "web-b"]
    assert sorted(names, key=natural) == ["2", "web", "web-2", "web-10", "web-b"]


HEADS = [Head("NAME", 9), Head("WORDS", 1), Head("N", 5, is_right=True)]


def test_in_a_pipe_nothing_is_cut() -> None:
    long = "x" * 300
    assert [f"NAME  {'WORDS':<300}   N", f"a     {long}  10"] == render(HEADS, [["a", long, "10"]])


def test_on_a_narrow_terminal_whole_columns_go_and_a_line_says_which() -> None:
    lines = render(HEADS, [["a-long-name", "some words", "10"]], width=16)
    assert lines[0] == "NAME          N"
    assert lines[1] == "a-long-name  10"
    assert "WORDS" in lines[2]


def test_the_name_is_never_cut() -> None:
    assert render(HEADS, [["a-long-name", "words", "10"]], width=3)[1] == "a-long-name"


def test_a_cell_cannot_move_the_cursor_or_begin_a_line() -> None:
    assert [
        line.split("  ") for line in render([Head("A"), Head("B")], [["a\x1b[2J\nb", ""]])[1:]
    ] == [["a [2J b", "-"]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (3600 * 5, "5h"), (86400 * 9, "9d")]
)
def test_an_age_is_short(seconds: int, text: str) -> None:
    now = datetime.fromtimestamp(1_700_000_000 + seconds, UTC)
    assert text == age("2023-11-14T22:13:20Z", now)


def test_units() -> None:
    assert [measured(each) for each in (0, 5, 15 << 20, 3 << 29)] == [
        "-",
        "1 KiB",
        "15 MiB",
        "1.5 GiB",
    ]
    assert [duration_s(each) for each in ("90", "90s", "5m")] == [90.0, 90.0, 300.0]


def test_ctrl_a_q_leaves_the_console_and_nothing_of_it_is_sent() -> None:
    assert keys(b"ab\x01qcd", is_escaped=False) == (b"ab", False, True)
    assert keys(b"ab\x01", is_escaped=False) == (b"ab", True, False)
    assert keys(b"q", is_escaped=True) == (b"", False, True)
    assert keys(b"\x01\x01x", is_escaped=False) == (b"\x01x", False, False)


def test_a_log_goes_on_where_it_was() -> None:
    assert new_part("a\nb\n", "a\nb\nc\n") == "c\n"
    assert new_part("a\n", "a\n") == ""
    assert new_part("a\n", "anew") == "anew"


def test_an_explanation_names_each_node_with_all_its_rules() -> None:
    refused = [
        {"rule": "zone", "reason": "in zone b"},
        {"rule": "room", "reason": "1 GB free, needs 4"},
    ]
    said = {
        "node": "node-a",
        "epoch": [1, 42],
        "candidates": [
            {"node": "node-b", "verdict": "refused", "refused_by": refused, "scores": {}},
            {"node": "node-a", "verdict": "chosen", "refused_by": [], "scores": {"spread": 7}},
        ],
        "again": "node-a",
    }
    assert explain_lines("web", said, "", everything=False) == [
        "web is on node-a: best of 1 that fit · epoch 1.42",
        "NODE    VERDICT        SPREAD  FACTS",
        "node-a  chosen              7  -",
        "node-b  refused: zone       -  in zone b; also: room, 1 GB free, needs 4",
        "again now: same choice",
    ]


def test_many_refusals_are_counted() -> None:
    refused = [{"rule": "zone", "reason": "in zone b"}]
    many = [{"node": f"n{at}", "verdict": "refused", "refused_by": refused} for at in range(13)]
    lines = explain_lines("web", {"candidates": many}, "", everything=False)
    assert lines[-1] == "refused: 13 zone   one line each: --all"
    assert len(explain_lines("web", {"candidates": many}, "", everything=True)) == 15


def sku(name: str, ram: int, *, default: bool = False) -> dict[str, Any]:
    marked = {"extensions": {"hansa.eu/default": "true"}} if default else {}
    return {"metadata": {"name": name}, "spec": {"ram": ram}, **marked}


def test_the_marked_sku_is_taken_else_the_smallest() -> None:
    assert recipe.sku_of([sku("S", 1), sku("L", 8, default=True)], "ram") == "L"
    assert recipe.sku_of([sku("L", 8), sku("S", 1)], "ram") == "S"
    with pytest.raises(CliError):
        recipe.sku_of([], "ram")


def test_the_zone_with_most_processors_that_are_up_is_taken() -> None:
    def node(zone: str, vcpus: int, verdict: str) -> dict[str, Any]:
        return {"spec": {"zone": zone}, "status": {"vcpus": vcpus, "verdict": verdict}}

    nodes = [node("a", 4, "up"), node("b", 6, "up"), node("a", 99, "down"), node("x", 99, "up")]
    assert recipe.zone_of(["a", "b"], nodes) == "b"
    assert recipe.zone_of(["a", "b"], []) == "a"


def test_a_name_that_is_free_is_found() -> None:
    assert recipe.free_name("tiny", []) == "tiny-1"
    assert recipe.free_name("tiny", ["tiny-1", "tiny-2", "tiny-4"]) == "tiny-3"


def test_a_disk_is_as_large_as_its_image_needs() -> None:
    def image(virtual_bytes: int) -> dict[str, Any]:
        return {"status": {"content": {"disk": {"virtualBytes": virtual_bytes}}}}

    assert [recipe.disk_gb_of(each) for each in ({}, image(5), image((2 << 30) + 1))] == [1, 1, 3]
