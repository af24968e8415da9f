"""SECA's label filter, term by term."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.serve.labels import parse

LABELS = {"env": "prod", "Tier": "D2XS", "cores": "4", "ns:key": "v", "odd": "a[b?c", "size": "9.5"}


@pytest.mark.parametrize(
    "text",
    [
        "env=prod",
        "env==prod",
        " env = prod ",
        "env=prod,Tier=D2XS",
        "env!=test",
        "absent!=anything",
        "ns:key=v",
        "e*=pr*",
        "*=*od",
        "*v*=*",
        "Tier=D*S",
        "odd=a[b*",
        "cores>3",
        "cores>=4",
        "cores<5",
        "cores<=4",
        "size>9",
        "env in (test,prod)",
        "env notin (test, stage)",
        "absent notin (a)",
        "env",
        "!absent",
        "env in (test,prod),cores>3,!absent",
    ],
)
def test_it_matches(text: str) -> None:
    assert parse(text)(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "env=Prod",
        "Env=prod",
        "env=prod,Tier=DXS",
        "env!=prod",
        "e*!=prod",
        "absent=",
        "p*=prod",
        "odd=a?b?c",
        "odd=[ab]*",
        "cores>4",
        "cores<4",
        "env>1",
        "absent<1",
        "env in (test)",
        "absent in (a,b)",
        "env notin (prod,test)",
        "absent",
        "!env",
    ],
)
def test_it_does_not_match(text: str) -> None:
    assert not parse(text)(LABELS)


@pytest.mark.parametrize(
    "text",
    ["=a", "a=b,", ",", "a>b", "a!b", "!a=b", "a in b", "a in (b", "(a)", "a b", "!", " in (a)"],
)
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match='"'):
        parse(text)


@given(text=st.text(alphabet="ab=!<>,()*: in01."))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        keep = parse(text)
    except ValueError:
        return
    assert keep(LABELS) in (True, False)
