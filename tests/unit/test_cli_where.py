"""Where a command lands."""

from pathlib import Path

import pytest

from hansa.cli.failure import CliError
from hansa.cli.where import (
    Config,
    Context,
    config_path,
    read_config,
    resolve,
    token_of,
    write_config,
)

CONFIG = Config(
    contexts=(
        Context(name="local", endpoint="http://127.0.0.1:7443", token_file="/no/such/file"),  # noqa: S106 - a path
        Context(name="far", endpoint="https://region.example", tenant="acme", workspace="shop"),
    ),
    current="local",
)


def test_a_flag_is_before_the_environment_which_is_before_the_context() -> None:
    flags = {"workspace": "flag"}
    env = {"HANSA_WORKSPACE": "env", "HANSA_TENANT": "env", "HANSA_CONTEXT": "far"}
    place = resolve(flags, env, CONFIG)
    assert (
        place.endpoint,
        place.tenant,
        place.workspace,
    ) == ("https://region.example", "env", "flag")
    assert place.sources == {
        "context": "HANSA_CONTEXT",
        "endpoint": "context far",
        "tenant": "HANSA_TENANT",
        "workspace": "--workspace",
    }


def test_without_anything_there_are_defaults_and_no_region() -> None:
    place = resolve({}, {}, Config())
    assert (place.endpoint, place.tenant, place.workspace) == ("", "main", "default")


def test_an_unknown_context_is_wrong_usage_that_lists_what_there_is() -> None:
    with pytest.raises(CliError) as told:
        resolve({"context": "nope"}, {}, CONFIG)
    assert told.value.fix == "contexts: local, far"


def test_a_token_goes_to_its_own_context_only(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    mine = Context(name="mine", endpoint="http://a.example", token_file=str(file))
    config = Config(contexts=(mine,), current="mine")
    assert ("secret", str(file)) == token_of(resolve({}, {}, config), {})
    elsewhere = resolve({"endpoint": "http://b.example"}, {}, config)
    assert token_of(elsewhere, {}) == ("", "nowhere")
    assert token_of(elsewhere, {"HANSA_TOKEN": "said"}) == ("said", "HANSA_TOKEN")


def test_a_token_comes_from_a_command_too() -> None:
    mine = Context(name="mine", endpoint="http://a.example", token_command="echo secret")  # noqa: S106 - a command
    place = resolve({}, {}, Config(contexts=(mine,), current="mine"))
    assert token_of(place, {})[0] == "secret"


def test_a_token_that_cannot_be_read_names_the_file() -> None:
    with pytest.raises(CliError, match="cannot be read"):
        token_of(resolve({}, {}, CONFIG), {})


def test_a_new_context_is_current_only_if_none_was() -> None:
    new = Context(name="new", endpoint="http://new.example")
    assert Config().having(new).current == "new"
    assert CONFIG.having(new).current == "local"
    renewed = CONFIG.having(Context(name="far", endpoint="https://other.example"))
    assert [each.name for each in renewed.contexts] == ["local", "far"]


def test_contexts_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    path = config_path({"HANSA_CONFIG": str(tmp_path / "deep" / "config.yaml")})
    assert Config() == read_config(path)
    write_config(path, CONFIG)
    assert read_config(path) == CONFIG
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("contexts: 5")
    with pytest.raises(CliError, match="cannot be read"):
        read_config(path)
