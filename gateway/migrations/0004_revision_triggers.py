"""The triggers that move the revision: on every change of what web processes remember, and on nothing else.

Wallets move it only when their terms change, not when money does; keys not when their last use is noted.
"""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# table -> (the columns of an UPDATE that count, whether INSERT and DELETE count too)
WATCHED = {
    "accounts_apikey": (
        "scopes, model_ids, networks, calls_per_minute, queued_calls, budget_microusd, expires_at, revoked_at, digest",
        False,
    ),
    "accounts_account": ("suspended_at, suspended_reason", False),
    "billing_wallet": ("plan_code, continue_from_funds, overrides, in_arrears", False),
    "billing_plan": ("", True),
    "billing_price": ("", True),
    "inference_imagemodel": ("", True),
    "inference_adapter": ("", True),
}
MOVE = "UPDATE gateway_revision SET number = number + 1 WHERE id = 1"


def events(columns: str, every: bool) -> list[str]:
    update = f"UPDATE OF {columns}" if columns else "UPDATE"
    return [update, "INSERT", "DELETE"] if every else [update, "DELETE"]


def watch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("gateway", "Revision").objects.get_or_create(id=1)
    postgresql = schema_editor.connection.vendor == "postgresql"
    if postgresql:
        schema_editor.execute(
            "CREATE FUNCTION gateway_revision_move() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {MOVE}; RETURN NULL; END $$"
        )
    for table, (columns, every) in WATCHED.items():
        for event in events(columns, every):
            name = f"{table}_revision_{event.split()[0].lower()}"
            if postgresql:
                action = "FOR EACH STATEMENT EXECUTE FUNCTION gateway_revision_move()"
            else:
                action = f"BEGIN {MOVE}; END"
            schema_editor.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} {action}")


def unwatch(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION gateway_revision_move() CASCADE")
        return
    for table, (columns, every) in WATCHED.items():
        for event in events(columns, every):
            schema_editor.execute(f"DROP TRIGGER {table}_revision_{event.split()[0].lower()}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("gateway", "0003_revision"),
        ("accounts", "0001_initial"),
        ("billing", "0002_ledger_append_only"),
        ("inference", "0001_initial"),
    ]
    operations: ClassVar = [migrations.RunPython(watch, unwatch)]
