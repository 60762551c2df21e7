"""Where a client's credential comes from."""

import os

from broker.errors import SecretMissing
from broker.identity.credential import Credential

VARIABLE = "HEADWORKS_CREDENTIAL"


def resolve(given: str | Credential | None = None) -> Credential:
    """Raises SecretMissing where there is none, and SettingsInvalid on a wrong form."""
    if isinstance(given, Credential):
        return given
    text = os.environ.get(VARIABLE, "") if given is None else given
    if not text:
        raise SecretMissing(f"{VARIABLE} is not set; `headworks keys create` prints a credential")
    return Credential.parse(text)
