"""The sums of ended months; empty until the next fold, and until then added up from the rows."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0001_initial"), ("billing", "0011_account_months")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="RevenueMonth",
            fields=[
                ("month", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("folded", models.BooleanField(default=False)),
                ("accounts", models.PositiveIntegerField(default=0)),
                ("paid_in_microusd", models.BigIntegerField(default=0)),
                ("sandbox_microusd", models.BigIntegerField(default=0)),
                ("given_microusd", models.BigIntegerField(default=0)),
                ("returned_microusd", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="CohortMonth",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("signed_up", models.PositiveIntegerField()),
                ("month", models.PositiveIntegerField()),
                ("charged_microusd", models.BigIntegerField(default=0)),
                ("plans_microusd", models.BigIntegerField(default=0)),
                ("payers", models.PositiveIntegerField(default=0)),
                ("payers_kept", models.PositiveIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("month", "signed_up"), name="cohort_month_once")],
            },
        ),
        migrations.CreateModel(
            name="Payer",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.account",
                    ),
                ),
                ("signed_up", models.PositiveIntegerField(db_index=True)),
            ],
        ),
        migrations.AddIndex(
            model_name="planpayment",
            index=models.Index(fields=["paid_at"], name="plan_payment_by_time"),
        ),
    ]
