"""The engine: the pump, and the offsets, slots, lanes and tenants that it goes by.

It knows nothing of LLMs, and of Kafka what `source` names.
"""
