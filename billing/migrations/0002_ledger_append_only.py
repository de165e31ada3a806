"""The database itself refuses to change or delete ledger entries, whatever code asks."""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

POSTGRESQL = (
    """
    CREATE FUNCTION billing_ledgerentry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'ledger entries never change'; END $$
    """,
    """
    CREATE TRIGGER billing_ledgerentry_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_ledgerentry_refuse()
    """,
)
SQLITE = tuple(
    f"CREATE TRIGGER billing_ledgerentry_no_{verb} BEFORE {verb} ON billing_ledgerentry "
    "BEGIN SELECT RAISE(ABORT, 'ledger entries never change'); END"
    for verb in ("UPDATE", "DELETE")
)


def guard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def unguard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION billing_ledgerentry_refuse() CASCADE")
    else:
        for verb in ("UPDATE", "DELETE"):
            schema_editor.execute(f"DROP TRIGGER billing_ledgerentry_no_{verb}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0001_initial")]
    operations: ClassVar = [migrations.RunPython(guard, unguard)]
