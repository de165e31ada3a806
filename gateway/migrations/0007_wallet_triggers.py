"""The revision's triggers on wallets again, now also for what limits spending.

SQLite makes the table anew when a constraint of it changes, and its triggers are gone with the old one.
"""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COLUMNS = "plan_code, continue_from_funds, overrides, in_arrears"
LIMITS = "spend_limit_microusd, postpaid_limit_microusd"
EVENTS = ("update", "delete")


def _triggers(schema_editor: BaseDatabaseSchemaEditor, columns: str) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    action = (
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
        if postgresql
        else "BEGIN UPDATE gateway_revision SET number = number + 1 WHERE id = 1; END"
    )
    for event in EVENTS:
        name = f"billing_wallet_revision_{event}"
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (" ON billing_wallet" if postgresql else ""))
        when = f"UPDATE OF {columns}" if event == "update" else "DELETE"
        schema_editor.execute(f"CREATE TRIGGER {name} AFTER {when} ON billing_wallet {action}")


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _triggers(schema_editor, f"{COLUMNS}, {LIMITS}")


def unwatch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _triggers(schema_editor, COLUMNS)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("gateway", "0006_ledger_besides_captures"), ("billing", "0004_postpaid")]
    operations: ClassVar = [migrations.RunPython(watch, unwatch)]
