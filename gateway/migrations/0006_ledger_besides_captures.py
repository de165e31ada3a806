"""The few ledger entries that are no capture, by time: what the console's sums of money read among millions."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("gateway", "0005_staff_actions"), ("billing", "0002_ledger_append_only")]
    operations: ClassVar = [
        migrations.RunSQL(
            "CREATE INDEX ledger_besides_captures ON billing_ledgerentry (created_at) WHERE kind <> 'capture'",
            "DROP INDEX ledger_besides_captures",
        )
    ]
