"""What nouns are called, and which of them a command means.  Pure."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

from hansa.cli.failure import CliError
from hansa.model.naming import scope
from hansa.model.registry import BY_KIND

ALL: Final = "all"
SKUS: Final = ("instance-sku", "storage-sku", "network-sku")
ORDER: Final = (
    "workspace", "image", "network", "subnet", "public-ip", "block-storage", "nic", "instance",
)  # fmt: skip
"""What a tenant writes, in order of reference; what lives in a workspace, from its third on."""
_ALSO: Final = {"sku": SKUS, "skus": SKUS, "disks": ("block-storage",), "imgs": ("image",)}


class Target(NamedTuple):
    """What a command is about: kinds, and the names of some of them or "" for all."""

    kinds: tuple[str, ...]
    name: str


class Home(NamedTuple):
    """Where names are looked for."""

    tenant: str
    workspace: str


def _words() -> dict[str, tuple[str, ...]]:
    words: dict[str, tuple[str, ...]] = {}
    for kind, noun in BY_KIND.items():
        for word in (kind, f"{kind}s", noun.short):
            if word:
                words[word] = (kind,)
        known = words.get(noun.collection, ())
        words[noun.collection] = known if kind in known else (*known, kind)
    return words | _ALSO


WORDS: Final = _words()


def kinds_of(word: str) -> tuple[str, ...]:
    """Return the kinds that a word means.  Raises CliError that knows the nearest ones."""
    if word == ALL:
        return tuple(kind for kind in ORDER if "workspace" in scope(kind))
    found = WORDS.get(word.lower())
    if found is None:
        near = get_close_matches(word.lower(), WORDS, n=1)
        fix = f"did you mean {near[0]}?  " if near else ""
        known = ", ".join(BY_KIND)
        raise CliError("usage", f'there is no kind "{word}"', fix=f"{fix}kinds: all, {known}")
    return found


def parse(words: Iterable[str]) -> tuple[Target, ...]:
    """Return what the words after a verb mean: KIND, KIND NAME..., KIND/NAME..., KIND,KIND."""
    first, *names = words
    if "/" in first:
        return tuple(_slashed(each) for each in (first, *names))
    kinds = tuple(dict.fromkeys(kind for each in first.split(",") for kind in kinds_of(each)))
    if not names:
        return (Target(kinds, ""),)
    if first == ALL or "," in first:
        said = f"{first} means many kinds, and {names[0]} is a name"
        raise CliError("usage", said, fix=f"say KIND/NAME: instance/{names[0]}")
    return tuple(Target(kinds, name) for each in names for name in each.split(",") if name)


def _slashed(word: str) -> Target:
    kind, _, name = word.partition("/")
    if not name:
        raise CliError("usage", f'"{word}" lacks a kind or a name', fix="say KIND/NAME")
    return Target(kinds_of(kind), name)


def key_in(kind: str, name: str, home: Home) -> str:
    """Return the key of a name that is looked for at home; subnets are NETWORK/NAME."""
    parts = name.split("/")
    missing = len(scope(kind)) + 1 - len(parts)
    outer = list(home)[: max(0, missing)]
    if missing < 0 or len(outer) != missing or not all(parts):
        inner = "NETWORK/NAME" if kind == "subnet" else "NAME"
        raise CliError("usage", f'"{name}" is no {kind}', fix=f"say {kind} {inner}")
    return "/".join([*outer, *parts])


def key_of(document: dict[str, object]) -> str:
    """Return the key that an object's metadata says."""
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    members = (*scope(metadata["kind"]), "name")
    return "/".join(str(metadata[member]) for member in members)


def short_name(kind: str, key: str) -> str:
    """Return KIND/NAME as `-o name` prints it and every verb takes it."""
    outer = sum(member in ("tenant", "workspace") for member in scope(kind))
    collection = BY_KIND[kind].collection if kind not in SKUS else kind
    return f"{collection}/{'/'.join(key.split('/')[outer:])}"


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts names as people do: web-2 before web-10."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(each), "") if each.isdecimal() else (1, 0, each) for each in parts)
