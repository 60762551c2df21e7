"""The programs that local servers are made of: where they are, and which Debian package brings each."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services.runner import ServerUnavailable

JAVA_MIN = 17
"""Kafka 4's servers need Java 17 or later: https://kafka.apache.org/41/operations/java-version/"""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    package: str
    folders: str = ""
    """A pattern of folders where a system keeps it off the PATH."""
    home_variable: str = ""
    """A variable that may name its home, whose `bin` then comes first."""

    def find(self) -> str:
        """Its path. Raises ServerUnavailable, with the way to install it."""
        path = self.path()
        if path is None:
            raise ServerUnavailable(missing_message([self]))
        return path

    def path(self) -> str | None:
        places = [os.environ.get("PATH", os.defpath)]
        if home := os.environ.get(self.home_variable):
            places.insert(0, str(Path(home, "bin")))
        if self.folders:
            places += sorted(
                (str(place) for place in Path("/").glob(self.folders)), key=_version, reverse=True
            )
        return shutil.which(self.name, path=os.pathsep.join(places))


JAVA = Program("java", "default-jre-headless", home_variable="JAVA_HOME")
MAVEN = Program("mvn", "maven")
REDIS = Program("redis-server", "redis-server")
INITDB = Program("initdb", "postgresql", folders="usr/lib/postgresql/*/bin")
POSTGRES = Program("postgres", "postgresql", folders="usr/lib/postgresql/*/bin")
PS = Program("ps", "procps")


def find_java() -> str:
    """The path of a Java that Kafka runs on. Raises ServerUnavailable."""
    path = JAVA.find()
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_MIN:
        raise ServerUnavailable(f"Kafka needs Java {JAVA_MIN} or later; {path} is: {told.splitlines()[0]}")
    return path


def missing_message(programs: list[Program]) -> str:
    names = ", ".join(program.name for program in programs)
    packages = " ".join(sorted({program.package for program in programs}))
    return (
        f"the tests need real servers, and of their programs these are missing: {names}.\n"
        f"Start Docker, or install them (on Debian and Ubuntu: sudo apt-get install {packages}; "
        "elsewhere: a Java runtime from 17 on, Maven, Redis 7 and PostgreSQL from 15 on)."
    )


def _version(folder: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", folder)]
