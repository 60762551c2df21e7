"""Words near a number that say what it is, or that it is something else.

The cue nearest before the number, on its line, decides. Where nothing else stands on that line before the
number, the line above counts as well, as in a form.
"""

import re

_BEFORE_BYTES = 64
_AFTER_BYTES = 48
_WORD = re.compile(rb"[A-Za-z\xc0-\xff]+")


class Cues:
    def __init__(self, speak_for: str, speak_against: str) -> None:
        """Words between white space, small letters; `my_number` stands for two words in a row."""
        self._verdicts = {_key(cue): -1 for cue in speak_against.split()} | {
            _key(cue): 1 for cue in speak_for.split()
        }

    def before(self, data: bytes, start: int) -> int:
        """1: the nearest cue speaks for it; -1: against; 0: there is none."""
        window = data[max(0, start - _BEFORE_BYTES) : start]
        line = window[window.rstrip().rfind(b"\n") + 1 :]
        words = _WORD.findall(line.lower())
        for index in range(len(words) - 1, -1, -1):
            verdict = self._verdict(words, index)
            if verdict:
                return verdict
        return 0

    def after(self, data: bytes, end: int) -> int:
        """The same of the nearest cue behind the number, on its line."""
        line = data[end : end + _AFTER_BYTES].partition(b"\n")[0]
        words = _WORD.findall(line.lower())
        return next(filter(None, (self._verdict(words, index) for index in range(len(words)))), 0)

    def _verdict(self, words: list[bytes], index: int) -> int:
        verdict = self._verdicts.get(words[index], 0)
        if not verdict and index:
            verdict = self._verdicts.get(words[index - 1] + b" " + words[index], 0)
        return verdict


def _key(cue: str) -> bytes:
    return cue.replace("_", " ").encode("latin-1")


RECORDS = """
    order orders orderid ordernumber ordre ticket tickets ticketid invoice invoices part parts isbn
    issn ean gtin upc sku case cases ref reference référence reférence réference id ids identifier
    serial model models version versions tracking shipment parcel batch lot item items article
    articles artikel artikelnummer bestellung bestellnummer bestellnr rechnung rechnungsnummer
    rechnungsnr commande facture dossier patent patents license licence claim imei checksum hash
    commit uuid guid timestamp epoch http error fehler erreur code port pid latitude longitude lat
    lon coordinates barcode catalog catalogue flight docket receipt quote transaction txn booking
    fedex ups dhl usps doi arxiv cas nsn
    aktenzeichen vorgang sendung sendungsnummer colis build release chapter section
"""
"""What numbers that belong to nobody are called."""
