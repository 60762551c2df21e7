"""The readers that are held to the same: with CI=true both have to be there."""

import os

from broker.policy.injection import readers
from broker.policy.injection.interpreted import InterpretedReader
from broker.policy.injection.readers import Make

KINDS: dict[str, Make] = {"interpreted": InterpretedReader}
if readers.COMPILED or os.environ.get("CI") == "true":
    from broker.policy.injection.compiled import compiled_reader

    KINDS["compiled"] = compiled_reader
