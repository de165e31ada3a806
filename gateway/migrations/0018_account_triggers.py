"""The revision's trigger on accounts, now also for what their pictures' files say."""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COLUMNS = "suspended_at, suspended_reason"
MORE = "parameters_in_pictures"
NAME = "accounts_account_revision_update"


def _trigger(schema_editor: BaseDatabaseSchemaEditor, columns: str) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    action = (
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
        if postgresql
        else "BEGIN UPDATE gateway_revision SET number = number + 1 WHERE id = 1; END"
    )
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {NAME}" + (" ON accounts_account" if postgresql else ""))
    schema_editor.execute(f"CREATE TRIGGER {NAME} AFTER UPDATE OF {columns} ON accounts_account {action}")


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _trigger(schema_editor, f"{COLUMNS}, {MORE}")


def unwatch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _trigger(schema_editor, COLUMNS)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("gateway", "0017_deletedcall"), ("accounts", "0007_parameters_in_pictures")]
    operations: ClassVar = [migrations.RunPython(watch, unwatch)]
