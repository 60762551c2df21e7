"""Bring in what the local servers are made of; nothing where a Docker engine answers or all is there."""

import os
import shutil
import subprocess

from tests.services.container import engine_answers
from tests.services.kafka import jars
from tests.services.programs import (
    INITDB,
    JAVA,
    MAVEN,
    POSTGRES,
    PS,
    REDIS,
    Program,
    find_java,
    missing_message,
)
from tests.services.runner import ServerUnavailable


def install() -> None:
    """Raises ServerUnavailable, with the command to run, where we may not install what is missing."""
    if engine_answers():
        print("servers: containers, by Docker")
        return
    if programs := missing():
        _install_with_apt(programs)
    find_java()
    print(f"servers: local processes; Kafka's jars are in {jars.fetch()}")


def missing() -> list[Program]:
    needed = [JAVA, REDIS, INITDB, POSTGRES, PS]
    if not jars.present():
        needed.append(MAVEN)
    return [program for program in needed if program.path() is None]


def _install_with_apt(programs: list[Program]) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise ServerUnavailable(missing_message(programs))
    packages = sorted({program.package for program in programs})
    print(f"installing {' '.join(packages)}", flush=True)
    _apt(apt, "update")
    _apt(apt, "install", "--yes", "--no-install-recommends", *packages)
    if still := missing():
        raise ServerUnavailable(missing_message(still))


def _apt(apt: str, *arguments: str) -> None:
    done = subprocess.run(
        [apt, "-qq", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerUnavailable(f"apt-get {arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
