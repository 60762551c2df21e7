"""`python -m tests.services install` readies the real servers; `... up` keeps them running until Ctrl-C."""

import argparse
import signal
import sys
from contextlib import ExitStack, suppress

from tests.services import KafkaServer, PostgresServer, RedisServer, ServerUnavailable
from tests.services.install import install


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("command", choices=["install", "up"])
    commands = {"install": install, "up": up}
    try:
        commands[parser.parse_args().command]()
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def up() -> None:
    """Start the three, say how to reach them, and stop them on Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as running:
        kafka = running.enter_context(KafkaServer())
        postgres = running.enter_context(PostgresServer())
        redis = running.enter_context(RedisServer())
        print(f"export HEADWORKS_KAFKA__BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
        print(f"export HEADWORKS_DATABASE__URL={postgres.url}")
        print(f"export HEADWORKS_REDIS__URL={redis.url}")
        print("# up until Ctrl-C", flush=True)
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
