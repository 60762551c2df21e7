"""Messages to an organization's own HTTP endpoints, signed as Standard Webhooks has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the headers
`webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`, which is `v1,` and the base64 of
HMAC-SHA256 over `id.timestamp.body`; a secret is written `whsec_` and its base64.

Whoever sets an address could point it at a server of ours. So an address is resolved once, refused where it
is not public, and connected to as it was resolved; redirects are not followed; nothing of an answer but its
status is kept.
"""

import base64
import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from broker.errors import SettingsInvalid
from broker.settings import WebhookSettings

SECRET_BYTES: Final = 32
_SECRET_PREFIX: Final = "whsec_"
_URL_CHARS_MAX: Final = 2_000
_SCHEMES: Final = ("https", "http")
_EMBEDS_IPV4: Final = tuple(
    map(
        ipaddress.IPv6Network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96"),
    )
)
"""NAT64, 6to4, Teredo, the first mapping and SIIT's (RFC 2765) carry an IPv4 address, which may be a private
one.
"""


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is the same each time that it is sent, so that its receiver can drop repeats."""

    id: str
    at_s: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    status: int


@dataclass(frozen=True, slots=True)
class Undelivered:
    """`code`: `status_<number>`, `url_invalid`, `address_refused`, `timeout` or `unreachable`."""

    code: str


class Webhooks:
    """Delivers messages. Nothing that a receiver does raises."""

    def __init__(self, settings: WebhookSettings) -> None:
        """Must run inside the event loop."""
        self._is_private_allowed = settings.private_addresses
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=None if settings.private_addresses else _PublicOnly(), force_close=True, limit=20
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            headers={"User-Agent": "headworks", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def deliver(self, url: str, secret: bytes, message: Message) -> Delivered | Undelivered:
        """`url` has passed `check_url` when it was set, by the rules of then."""
        try:
            address = _parsed(url)
        except ValueError:
            return Undelivered("url_invalid")
        if address.scheme not in _SCHEMES or not address.host:
            return Undelivered("url_invalid")
        if not self._is_private_allowed and _is_refused(address.host):
            return Undelivered("address_refused")
        headers = {"Content-Type": "application/json", **signed(secret, message)}
        try:
            async with self._session.post(
                address, data=message.body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except _PrivateAddress:
            return Undelivered("address_refused")
        except aiohttp.ClientConnectorDNSError as error:
            is_private = isinstance(error.os_error, _PrivateAddress)
            return Undelivered("address_refused" if is_private else "unreachable")
        except TimeoutError:
            return Undelivered("timeout")
        except (aiohttp.ClientError, OSError, ValueError):
            return Undelivered("unreachable")
        return Delivered(status) if 200 <= status < 300 else Undelivered(f"status_{status}")


def signed(secret: bytes, message: Message) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    content = f"{message.id}.{message.at_s}.".encode() + message.body
    mac = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(message.at_s),
        "webhook-signature": f"v1,{mac}",
    }


def written(secret: bytes) -> str:
    """A secret as its receiver's library takes it."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def check_url(url: str, settings: WebhookSettings) -> None:
    """Raises SettingsInvalid on an address that no message will go to."""
    try:
        parsed = _parsed(url)
    except ValueError:
        raise SettingsInvalid("a webhook's address: its host or port cannot be read") from None
    if len(url) > _URL_CHARS_MAX or parsed.user is not None or parsed.fragment or not parsed.host:
        raise SettingsInvalid(
            f"a webhook's address must be https://host/path of at most {_URL_CHARS_MAX} characters, "
            "without a user or a fragment"
        )
    allowed = _SCHEMES if settings.private_addresses else _SCHEMES[:1]
    if parsed.scheme not in allowed:
        raise SettingsInvalid(f"a webhook's address must begin with {' or '.join(allowed)}://")
    if settings.private_addresses:
        return
    if _is_refused(parsed.host):
        raise SettingsInvalid(
            "a webhook's address must be public; webhooks.private_addresses = true allows others"
        )


def _parsed(url: str) -> URL:
    """Raises ValueError where a part of it cannot be read."""
    parsed = URL(url)
    _ = parsed.host, parsed.port  # read when they are asked for
    return parsed


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, in itself and in what it carries."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _EMBEDS_IPV4):
            return False
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast


def _is_refused(host: str) -> bool:
    """By itself: names are judged by what they resolve to. Of digits and dots alone there is no name, but
    ways to write an address that some resolvers take: 127.1, 2130706433.
    """
    try:
        return not is_public(host)
    except ValueError:
        return host.replace(".", "").isdigit()


class _PrivateAddress(OSError):
    """A name that stands for an address that is not public."""


class _PublicOnly(AbstractResolver):
    """All addresses of a name must be public: which of them would be connected to is not ours to say."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise _PrivateAddress("the address is not public")
        return found

    async def close(self) -> None:
        await self._resolver.close()
