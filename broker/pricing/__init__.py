"""The price book, the upper bound before a call, and the charge after it."""
