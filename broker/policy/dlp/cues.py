"""Words near a number that say what it is, or that it is something else.

The cue nearest before the number, on its line, decides. Where nothing else stands on that line before the
number, the line above counts as well, as in a form.
"""

import re
from collections.abc import Sequence

_BEFORE_BYTES = 64
_AFTER_BYTES = 48


class Cues:
    def __init__(self, speaks_for: Sequence[str], speaks_against: Sequence[str]) -> None:
        """Words as patterns of `re` without groups, matched whole and in any case."""
        fors, against = "|".join(speaks_for), "|".join(speaks_against)
        source = rf"\b(?:(?P<pro>{fors})|(?P<con>{against}))(?![A-Za-z])"
        self._pattern = re.compile(source.encode("latin-1"), re.IGNORECASE)

    def before(self, data: bytes, start: int) -> int:
        """1: the nearest cue speaks for it; -1: against; 0: there is none."""
        window = data[max(0, start - _BEFORE_BYTES) : start]
        line = window[window.rstrip().rfind(b"\n") + 1 :]
        last = None
        for last in self._pattern.finditer(line):  # noqa: B007 the last one is what counts
            pass
        return 0 if last is None else 1 if last.lastgroup == "pro" else -1

    def denied_after(self, data: bytes, end: int) -> bool:
        """The nearest cue behind the number, in its line, speaks against it."""
        line = data[end : end + _AFTER_BYTES].partition(b"\n")[0]
        first = self._pattern.search(line)
        return first is not None and first.lastgroup == "con"


RECORDS = (
    "orders?", "ordre", "tickets?", "invoices?", "parts?", "isbn(?:-1[03])?", "issn", "ean", "gtin", "upc",
    "sku", "cases?", "ref", "reference", "r[eé]f[eé]rence", "id", "identifier", "serial", "models?",
    "versions?", "tracking", "shipment", "parcel", "batch", "lot", "items?", "articles?",
    "artikel(?:nummer|-?nr)?", "bestell(?:ung|nummer|-?nr)", "rechnung(?:snummer|s-?nr)?", "commande",
    "facture", "dossier", "patents?", "licen[sc]e", "claim", "imei", "checksum", "hash", "commit", "uuid",
    "guid", "timestamp", "epoch", "http", "error", "fehler", "erreur", "code", "port", "pid", "latitude",
    "longitude", "lat", "lon", "coordinates?", "barcode", "catalog(?:ue)?", "flight", "docket", "receipt",
    "quote", "transaction", "txn", "booking", "aktenzeichen", "vorgang", "sendung(?:snummer)?", "colis",
    "build", "release", "chapter", "section",
)  # fmt: skip
"""What numbers that belong to nobody are called."""
