import pytest

from tests.unit.broker.policy.dlp.marked import judge


@pytest.mark.parametrize(
    "marked",
    [
        "ip=«IP_ADDRESS:203.0.113.7»",
        "http://«IP_ADDRESS:192.168.1.10»:8080/x",
        "php://filter/resource=http://«IP_ADDRESS:10.0.0.3»/",
        "«IP_ADDRESS:10.0.0.0»/8",
        "from «IP_ADDRESS:8.8.8.8», «IP_ADDRESS:8.8.4.4».",
        "«IP_ADDRESS:10.0.0.1»-«IP_ADDRESS:10.0.0.20»",
        "kafka-1.example.com/«IP_ADDRESS:10.0.0.5»:9092",
        "upgrade the host «IP_ADDRESS:10.1.2.3» to version 2",
        "«IP_ADDRESS:１０．１．２．３»",
        "[«IP_ADDRESS:2001:db8::1»]:443",
        "«IP_ADDRESS:2001:0db8:85a3:0000:0000:8a2e:0370:7334»",
        "«IP_ADDRESS:::ffff:192.0.2.128»",
        "«IP_ADDRESS:64:ff9b::192.0.2.33»",
        "«IP_ADDRESS:fe80::1»%eth0",
        "«IP_ADDRESS:2001:DB8:0:0:8:800:200C:417A».",
        "from:«IP_ADDRESS:2001:db8::7», to «IP_ADDRESS:2001:db8::8»: ok",
        "«IP_ADDRESS:2001:db8::»/32 and «IP_ADDRESS:2606:4700:4700::1111»",
    ],
)
def test_an_address_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "Update to version 10.4.22.1",
        "v1.2.3.4 and 1.2.3.4.5 and OID 1.3.6.1.4.1",
        "pip install foo==1.2.3.4",
        "Chrome/120.0.0.0 Safari/537.36",
        "on python 3.11.4.2 with Newtonsoft.Json 9.8.1.6",
        "section 4.3.2.1 says",
        "bump ujson from 5.6.0.0 to 5.7.0.1",
        "    1.2.2.1. Enumeration",
        "from 10.4.22.1-beta and package-1.2.3.4.jar",
        "999.1.2.3 and 1.2.3.256 and 1.02.3.4",
        "localhost 127.0.0.1 ::1 0.0.0.0 ::",
        "std::vector<int> a::b; use face::add;",
        "x[::2] y[::-1] a[1::2]",
        "10:30:45 and 00:1B:44:11:3A:B7",
        "1:2:3:4:5:6:7:8:9",
    ],
)
def test_what_only_resembles_an_address_is_not_found(text: str) -> None:
    judge(text)
