"""The revision's triggers on models again.

SQLite makes the table anew when a column that may not be null is added, and its triggers are gone with the old one.
"""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLE = "inference_imagemodel"
EVENTS = ("update", "insert", "delete")


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    action = (
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
        if postgresql
        else "BEGIN UPDATE gateway_revision SET number = number + 1 WHERE id = 1; END"
    )
    for event in EVENTS:
        name = f"{TABLE}_revision_{event}"
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {TABLE}" if postgresql else ""))
        schema_editor.execute(f"CREATE TRIGGER {name} AFTER {event.upper()} ON {TABLE} {action}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("gateway", "0010_modelimport_safety_family"), ("inference", "0004_examples")]
    operations: ClassVar = [migrations.RunPython(watch, migrations.RunPython.noop)]
