import pytest

from tests.unit.broker.policy.dlp.marked import judge


@pytest.mark.parametrize(
    "marked",
    [
        "Mail «EMAIL:o'brien.pat+x@mail.sub.example.co.uk».",
        "(«EMAIL:a.b@example.com»), <«EMAIL:jane_doe@example.org»>; '«EMAIL:bob@example.com»'",
        "mailto:«EMAIL:joe@example.com»?subject=x",
        "email=«EMAIL:joe%40example.com»&x=1",
        "an «EMAIL:j.müller@bücher-example.de»!",
        "写给«EMAIL:li.wei@example.cn»吧",
        "«EMAIL:ｊｏｅ＠ｅｘａｍｐｌｅ．ｃｏｍ»",
        "«EMAIL:UPPER.CASE@EXAMPLE.COM»; «EMAIL:x@y.io»",
        "«EMAIL:me@example.xn--p1ai» and «EMAIL:me@example.museum».",
        "To: «EMAIL:ann@example.io»Hi Ann",
        '{"to":"«EMAIL:ann-marie@example.io»"}',
    ],
)
def test_an_address_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png",
        "git@github.com:org/repo.git",
        "https://user:token@host.example/x",
        "https://name@host.example/x",
        "ssh://git@host.example/x",
        "scp me@host.example:/etc/hosts .",
        "@decorator def f",
        "npm i react@18.2.0 @types/node@1.2.3",
        "foo@bar user@localhost a@b",
        "a" * 65 + "@example.com",
        "joe..doe@example.com",
    ],
)
def test_what_only_resembles_an_address_is_not_found(text: str) -> None:
    judge(text)
