"""The engine: offsets, slots and the pump. It knows nothing of LLMs, and of Kafka what `source` names."""
