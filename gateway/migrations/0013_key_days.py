"""A key's calls of a day, and the revision's trigger on keys, now also for the limit of a day and for web pages."""

from typing import ClassVar

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COLUMNS = "scopes, model_ids, networks, calls_per_minute, queued_calls, budget_microusd, expires_at, revoked_at, digest"
MORE = "origins, calls_per_day"
NAME = "accounts_apikey_revision_update"


def _trigger(schema_editor: BaseDatabaseSchemaEditor, columns: str) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    action = (
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
        if postgresql
        else "BEGIN UPDATE gateway_revision SET number = number + 1 WHERE id = 1; END"
    )
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {NAME}" + (" ON accounts_apikey" if postgresql else ""))
    schema_editor.execute(f"CREATE TRIGGER {NAME} AFTER UPDATE OF {columns} ON accounts_apikey {action}")


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _trigger(schema_editor, f"{COLUMNS}, {MORE}")


def unwatch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _trigger(schema_editor, COLUMNS)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("gateway", "0012_gallery"), ("accounts", "0005_key_limits")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="KeyDay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key_id", models.BigIntegerField()),
                ("day", models.DateField()),
                ("calls", models.PositiveIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("key_id", "day"), name="key_day_once")],
            },
        ),
        migrations.RunPython(watch, unwatch),
    ]
