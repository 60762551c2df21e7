"""The credential that an application is handed: one line that names it, its key and the secret."""

import base64
import re
import secrets
from typing import NamedTuple, Self

from broker.errors import SettingsInvalid
from schemas.topics import APPLICATION_PATTERN

SECRET_BYTES = 32
_FORM = re.compile(
    rf"hw\.(?P<application>{APPLICATION_PATTERN})\.(?P<key_id>[a-z0-9]{{8,32}})\.(?P<secret>[A-Za-z0-9_-]{{43}})"
)


class Credential(NamedTuple):
    """Written `hw.<application>.<key id>.<secret in base64url>`. Its repr hides the secret."""

    application: str
    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Credential(application={self.application!r}, key_id={self.key_id!r})"

    def __str__(self) -> str:
        return repr(self)

    def reveal(self) -> str:
        encoded = base64.urlsafe_b64encode(self.secret).rstrip(b"=").decode()
        return f"hw.{self.application}.{self.key_id}.{encoded}"

    @classmethod
    def generate(cls, application: str) -> Self:
        return cls(application, secrets.token_hex(8), secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises SettingsInvalid on another form; the text is not repeated in the error."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise SettingsInvalid("a credential has the form hw.<application>.<key id>.<secret>")
        return cls(match["application"], match["key_id"], base64.urlsafe_b64decode(match["secret"] + "="))
