"""Revenue by account and month, from the days folded so far, and the paid invoices of plans from now on."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Max, Min, Sum


def add_folded_days(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    days, months = apps.get_model("billing", "UsageHouseDay"), apps.get_model("billing", "AccountMonth")
    span = days.objects.aggregate(first=Min("day"), last=Max("day"))
    if span["first"] is None:
        return
    first, last = (span[name].year * 12 + span[name].month - 1 for name in ("first", "last"))
    for month in range(first, last + 1):
        rows = days.objects.filter(day__year=month // 12, day__month=month % 12 + 1).exclude(amount_microusd=0)
        sums = rows.values_list("account_id").annotate(total=Sum("amount_microusd")).order_by()
        made = [
            months(account_id=account_id, month=month, charged_microusd=total)
            for account_id, total in sums.iterator(chunk_size=2000)
        ]
        months.objects.bulk_create(made, batch_size=1000)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0001_initial"), ("billing", "0010_entry_names")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="PlanPayment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_id", models.CharField(max_length=64, unique=True)),
                (
                    "mode",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("test", "Test"), ("live", "Live")], max_length=7
                    ),
                ),
                ("plan_code", models.CharField(max_length=24)),
                ("amount_cents", models.PositiveIntegerField()),
                ("paid_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.account"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AccountMonth",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("month", models.PositiveIntegerField(db_index=True)),
                ("charged_microusd", models.BigIntegerField(default=0)),
                ("plans_microusd", models.BigIntegerField(default=0)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("account", "month"), name="account_month_once")],
            },
        ),
        migrations.RunPython(add_folded_days, migrations.RunPython.noop),
    ]
