"""How commands that are clients find Kafka and their credential."""

import logging
import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from broker.settings import KafkaSettings


def connect() -> "KafkaSettings":
    """From the environment and the settings file; else what `headworks dev` left in this folder.

    Raises SettingsInvalid; SecretMissing, where neither gives a credential.
    """
    from broker.errors import SecretMissing
    from broker.settings import Settings
    from broker.telemetry.log import configure
    from headworks.client import dev_env
    from headworks.client.credentials import VARIABLE

    found = dev_env.fallback(os.environ)
    if found:
        os.environ.update(found)
        typer.echo(f"Using the `headworks dev` of this folder ({dev_env.PATH}).", err=True)
    if not os.environ.get(VARIABLE):
        raise SecretMissing(
            f"{VARIABLE} is not set: `headworks keys create APPLICATION` prints a credential; or, to try "
            "things out, run `headworks dev` in this folder"
        )
    settings = Settings.load()
    configure(settings.log.model_copy(update={"level": "warning"}))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it repeats itself while a broker is away
    return settings.kafka
