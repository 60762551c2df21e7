"""Messages to endpoints of others: signed, and never to an address that is not public."""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SettingsInvalid
from broker.settings import WebhookSettings
from broker.webhooks import Delivered, Message, Undelivered, Webhooks, check_url, is_public, signed, written

SECRET = bytes(range(32))
MESSAGE = Message("msg_1", 1_700_000_000, b'{"type":"budget.threshold"}')
PRIVATE_ALLOWED = WebhookSettings(private_addresses=True, timeout_s=0.5)
PUBLIC_ONLY = WebhookSettings(timeout_s=0.5)


@dataclass
class Receiver:
    url: str = ""
    status: int = 204
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append((dict(request.headers), await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_post("/{any:.*}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()


async def _deliver(url: str, settings: WebhookSettings = PRIVATE_ALLOWED) -> Delivered | Undelivered:
    sender = Webhooks(settings)
    try:
        return await sender.deliver(url, SECRET, MESSAGE)
    finally:
        await sender.close()


async def test_a_message_arrives_signed(receiver: Receiver) -> None:
    assert await _deliver(receiver.url) == Delivered(204)
    ((headers, body),) = receiver.taken
    assert body == MESSAGE.body
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1700000000"
    version, mac = headers["webhook-signature"].split(",")
    expected = hmac.digest(SECRET, b"msg_1.1700000000." + body, hashlib.sha256)
    assert (version, base64.b64decode(mac)) == ("v1", expected)


def test_the_example_of_the_specification() -> None:
    """Of https://github.com/standard-webhooks/standard-webhooks, its test vector."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed(secret, message)["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert written(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_what_a_receiver_says_is_told_by_its_status(receiver: Receiver) -> None:
    receiver.status = 500
    assert await _deliver(receiver.url) == Undelivered("status_500")


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": receiver.url}
    assert await _deliver(receiver.url) == Undelivered("status_307")
    assert len(receiver.taken) == 1


async def test_a_receiver_that_hangs(receiver: Receiver) -> None:
    receiver.hangs = True
    assert await _deliver(receiver.url) == Undelivered("timeout")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://name.invalid/"])
async def test_a_receiver_that_is_not_there(url: str) -> None:
    assert await _deliver(url) == Undelivered("unreachable")


@pytest.mark.parametrize("settings", [PRIVATE_ALLOWED, PUBLIC_ONLY])
@pytest.mark.parametrize(
    "url", ["https://hooks.example.com:99999/", "https://[::1", "https://", "/hook", "ftp://a.example/", ""]
)
async def test_an_address_on_record_that_cannot_be_read(url: str, settings: WebhookSettings) -> None:
    assert await _deliver(url, settings) == Undelivered("url_invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_no_message_goes_to_a_private_address(receiver: Receiver, host: str) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    assert await _deliver(url, PUBLIC_ONLY) == Undelivered("address_refused")
    assert receiver.taken == []


@pytest.mark.parametrize("url", ["http://2130706433/", "http://127.1/", "http://0x7f.1/"])
async def test_no_address_in_disguise_passes(url: str) -> None:
    assert isinstance(await _deliver(url, PUBLIC_ONLY), Undelivered)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # an address that is refused
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "::ffff:0:a00:1",
        "2002:a00:1::",
        "::127.0.0.1",
        "fec0::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_the_same_however_it_is_carried(address: ipaddress.IPv4Address) -> None:
    assert is_public(str(address)) == is_public(f"::ffff:{address}")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://hooks.example.com/", "https://"),
        ("ftp://hooks.example.com/", "https://"),
        ("https://10.0.0.1/", "public"),
        ("https://[::1]/", "public"),
        ("https://127.1/", "public"),
        ("https://2130706433/", "public"),
        ("https://127.0.0.1./", "public"),
        ("https://user:password@hooks.example.com/", "without a user"),
        ("https://hooks.example.com/#there", "fragment"),
        ("/hook", "https://host/path"),
        ("https://hooks.example.com:99999/", "cannot be read"),
        ("https://hooks.example.com/" + "x" * 2_000, "2000 characters"),
    ],
)
def test_an_address_that_no_message_will_go_to(url: str, told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told) as caught:
        check_url(url, PUBLIC_ONLY)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "settings"),
    [("https://hooks.example.com/a?b=c", PUBLIC_ONLY), ("http://127.0.0.1:9/", PRIVATE_ALLOWED)],
)
def test_an_address_that_is_taken(url: str, settings: WebhookSettings) -> None:
    check_url(url, settings)


def test_a_message_s_repr_hides_its_body() -> None:
    assert "budget" not in repr(MESSAGE)
