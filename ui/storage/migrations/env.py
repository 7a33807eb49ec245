"""Alembic's entry: migrates over the connection that `ui.storage.database.migrate` hands in."""

from alembic import context

from ui.storage.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
context.run_migrations()
