import pytest

from tests.unit.broker.policy.dlp.marked import judge


@pytest.mark.parametrize(
    "marked",
    [
        "card «CREDIT_CARD:4111-1111-1111-1111»",
        "«CREDIT_CARD:4111 1111 1111 1111»",
        "«CREDIT_CARD:378282246310005» and «CREDIT_CARD:3782 822463 10005»",
        "«CREDIT_CARD:30569309025904»",
        "«CREDIT_CARD:6011111111111117», «CREDIT_CARD:3530111333300000»",
        "«CREDIT_CARD:5555555555554444»/«CREDIT_CARD:2223003122003222»",
        "visa «CREDIT_CARD:4222222222222»",
        "pan=«CREDIT_CARD:4012888888881881»",
        "cc:«CREDIT_CARD:4111.1111.1111.1111»",
        "«CREDIT_CARD:４１１１１１１１１１１１１１１１»",
        "Joe,«CREDIT_CARD:4111111111111111»,09/27",
        "«CREDIT_CARD:4111\u00a01111\u00a01111\u00a01111»",
        "4929 «CREDIT_CARD:4111 1111 1111 1111»",
        "«CREDIT_CARD:٤١١١١١١١١١١١١١١١»",
    ],
)
def test_a_card_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "order 4929 1183 2270 0001",
        "4111111111111112",
        "9111111111111111",
        "tracking 1Z999AA10123456784",
        "timestamp 1700000000000000 ns 1700000000000000000",
        "id 4111111111111111a 0x4111111111111111ff a_4111111111111111",
        "uuid 41111111-1111-1111-1111-111111111111",
        "ISBN 978-3-16-148410-0, EAN 4006381333931, IMEI 490154203237518",
        "pi 3.14159265358979323846",
        "4222222222222",
    ],
)
def test_other_numbers_are_no_cards(text: str) -> None:
    judge(text)


@pytest.mark.parametrize(
    "marked",
    [
        "IBAN «IBAN:DE89 3704 0044 0532 0130 00» by Friday",
        "IBAN: «IBAN:DE89 3704 0044 0532 0130 00» BIC COBADEFF",
        "iban:«IBAN:gb82 west 1234 5698 7654 32»",
        "«IBAN:GB82WEST12345698765432».",
        "«IBAN:FR14 2004 1010 0505 0001 3M02 606» or «IBAN:NO93 8601 1117 947»",
        "«IBAN:MT84MALT011000012345MTLCAST001S»",
        "«IBAN:BH62WBNPUAPWMJABBBAXEA»",
        "pay «IBAN:DE89-3704-0044-0532-0130-00»,",
        "«IBAN:SA03 8000 0000 6080 1016 7519» («IBAN:CH93 0076 2011 6238 5295 7»)",
        "«IBAN:ＤＥ８９３７０４００４４０５３２０１３０００»",
    ],
)
def test_an_iban_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",
        "DE12345",
        "GB82 WEST",
        "AB12 3456 7890 1234 5678",
        "XDE89370400440532013000",
    ],
)
def test_what_fails_structure_or_check_is_no_iban(text: str) -> None:
    judge(text)


@pytest.mark.parametrize(
    "marked",
    [
        "SSN «US_SSN:123-45-6789»",
        "his social is «US_SSN:123 45 6789»",
        "ssn=«US_SSN:123456789»",
        "Bob, «US_SSN:219-09-1234», hired",
        "social security number: «US_SSN:536-90-4399»",
        "SSN#«US_SSN:536-90-4399»",
        "«US_SSN:536‑90‑4399»",
        "SSN:\n«US_SSN:536904399»",
    ],
)
def test_a_social_security_number_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "SSN 000-12-3456, SSN 666-12-3456, SSN 123-00-4567, SSN 123-45-0000, SSN 901-22-1234",
        "ticket 503-22-1234",
        "What does HTTP 503-22-1234 mean?",
        "See 503-22-1234, it is our ticket id.",
        "SKU 123-45-6789",
        "123-45-67890 and 12-123-45-6789",
        "541 61 5653",
        "541615653",
    ],
)
def test_other_numbers_are_no_social_security_numbers(text: str) -> None:
    judge(text)
