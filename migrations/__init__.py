"""The database's schema, revision by revision (Alembic). `broker.store.migrate` runs them."""
