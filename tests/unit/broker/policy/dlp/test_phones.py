import pytest

from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind
from tests.unit.broker.policy.dlp.marked import judge, unmarked


@pytest.mark.parametrize(
    "marked",
    [
        "Call «PHONE:+1 (415) 555-2671» now",
        "tel:«PHONE:+14155552671»",
        "«PHONE:+44 (0)20 7946 0958»",
        "Ring «PHONE:020 7946 0958» today",
        "mob «PHONE:07700 900123».",
        "Tel. «PHONE:030 12345678»",
        "Telefon: «PHONE:0151/23456789»",
        "Handy «PHONE:015123456789»",
        "tél. «PHONE:06.12.34.56.78»",
        "«PHONE:01 42 68 53 00»",
        "«PHONE:415.779.9194»",
        "«PHONE:415 779 9194»",
        "phone: «PHONE:4157799194»",
        "«PHONE:1-415-779-9194»",
        "my number is «PHONE:555-123-4567»",
        "call «PHONE:(555) 123-4567»",
        "«PHONE:(212) 343-2252 ext. 12»",
        "«PHONE:212-343-2252x123»",
        "«PHONE:+91 98765 43210», «PHONE:+81 3-1234-5678», «PHONE:+55 11 91234-5678»",
        "«PHONE:+86 138 0013 8000»; «PHONE:+61 2 9374 4000»; «PHONE:+353 1 234 5678»",
        "«PHONE:+39 06 698 83442» or «PHONE:+34 612 34 56 78»",
        "«PHONE:0044 20 7946 0958»",
        "«PHONE:011 44 20 7946 0958»",
        "fax «PHONE:0033 1 42 68 53 00»",
        "whatsapp «PHONE:+49-151-23456789»",
        "«PHONE:＋４４ ２０ ７９４６ ０９５８»",
        "«PHONE:+33\u202f6\u202f12\u202f34\u202f56\u202f78»",
        "«PHONE:+33 6 12 34 56 78», 10 euros",
        "phones: «PHONE:415-779-9194» «PHONE:212-391-9902»",
        "phones: «PHONE:415-779-9194»/«PHONE:212-391-9902»",
        "Joe,«PHONE:415-779-9194»,x",
        "(«PHONE:020 7946 0958»), «PHONE:(020) 7946 0958», [«PHONE:+41 44 668 18 00»]",
        "Rufnummer «PHONE:(030) 901820»",
        "text me at «PHONE:9175551234»",
        "«PHONE:4155552671» is my cell",
        "(«PHONE:+49 30 901820») or «PHONE:(+49) 30 901820»",
        "12/05/2024 «PHONE:0151 23456789»",
        "phone=«PHONE:415-555-0123»",
    ],
)
def test_a_number_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "Part no. 800-123-ABC",
        "2025-03-14 10:30",
        "01.02.2024 and 05/03/2024 and 01 02 2024",
        "Order 415-779-9194",
        "Ticket 0151 23456789",
        "invoice 020 7946 0958",
        "0.123456789",
        "$4157799194",
        "4157799194",
        "1700000000",
        "the years 1914-1918 1939-1945",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "scores 10-20-30-40",
        "100 000 000 people",
        "1,234,567,890",
        "coordinates 48.858370, 2.294481",
        "#212-391-9902",
        "range 200-300-4000",
        "+1234567890123",
        "matrix 1 0 0 0 1 0 0 0 1",
        "ISO 8601 2024-01-01T00:00:00+00:00",
        "zip 90210-1234",
        "2+2=4 +100 000",
        "ab12-0151-23456789",
        "bits 0101 0101 0101",
        "NHS 943 476 5919",
        "version 020.7946.0958",
        "04612-7910",
        "06/05/1962-21/04/1975",
        "07-9862-7309",
        "4155552671 is the order's number",
        "0201 2345 6789 0123",
        "uuid 41511111-7791-9194-1111-111111111111",
    ],
)
def test_other_numbers_are_not_found(text: str) -> None:
    judge(text)


def test_national_numbers_are_those_of_the_regions_asked_for() -> None:
    text, spans = unmarked("Llame al «PHONE:612 34 56 78»")
    assert Finder([Kind.PHONE], regions=["es"]).find(text) == spans
    assert Finder([Kind.PHONE], regions=["DE"]).find(text) == ()


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(DlpRulesInvalid, match="'XX'"):
        Finder([Kind.PHONE], regions=["XX"])
