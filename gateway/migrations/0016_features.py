"""What the operator has switched off; web processes remember it, so that a change moves the revision."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLE = "gateway_featureoff"
EVENTS = ("insert", "delete")
NAMES = [
    ("signup", "New sign-ups"),
    ("calls", "New calls"),
    ("payments", "Adding funds and subscribing"),
    ("sharing", "Shared links"),
]


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    action = (
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
        if schema_editor.connection.vendor == "postgresql"
        else "BEGIN UPDATE gateway_revision SET number = number + 1 WHERE id = 1; END"
    )
    for event in EVENTS:
        schema_editor.execute(f"CREATE TRIGGER {TABLE}_revision_{event} AFTER {event.upper()} ON {TABLE} {action}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("gateway", "0015_alert_address"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="FeatureOff",
            fields=[
                ("name", models.CharField(choices=NAMES, max_length=20, primary_key=True, serialize=False)),
                ("since", models.DateTimeField()),
                ("reason", models.CharField(max_length=200)),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        # The table goes with its triggers.
        migrations.RunPython(watch, migrations.RunPython.noop),
    ]
