"""What travels on the wire: frozen pydantic models and the names of topics and headers."""
