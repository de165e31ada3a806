"""What staff did, and when the books were proved. The database itself refuses to change or delete a staff action."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

POSTGRESQL = (
    """
    CREATE FUNCTION gateway_staffaction_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'staff actions never change'; END $$
    """,
    """
    CREATE TRIGGER gateway_staffaction_append_only BEFORE UPDATE OR DELETE ON gateway_staffaction
    FOR EACH ROW EXECUTE FUNCTION gateway_staffaction_refuse()
    """,
)
SQLITE = tuple(
    f"CREATE TRIGGER gateway_staffaction_no_{verb} BEFORE {verb} ON gateway_staffaction "
    "BEGIN SELECT RAISE(ABORT, 'staff actions never change'); END"
    for verb in ("UPDATE", "DELETE")
)


def guard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def unguard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION gateway_staffaction_refuse() CASCADE")
    else:
        for verb in ("UPDATE", "DELETE"):
            schema_editor.execute(f"DROP TRIGGER gateway_staffaction_no_{verb}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("gateway", "0004_revision_triggers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="AuditRun",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("ran_at", models.DateTimeField()),
                ("took_ms", models.PositiveIntegerField()),
                ("differences", models.PositiveIntegerField()),
                ("findings", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="StaffAction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("action", models.CharField(max_length=40)),
                ("target", models.CharField(max_length=140)),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField()),
                (
                    "actor",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["target", "-id"], name="staff_action_by_target")]},
        ),
        migrations.RunPython(guard, unguard),
    ]
