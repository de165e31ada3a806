"""What accounts bring in by month knows the month of their sign-up as well."""

from typing import ClassVar

from django.db import migrations, models

_FILL = """
UPDATE billing_accountmonth SET signed_up = COALESCE((
    SELECT CAST(SUBSTR(CAST(created_at AS VARCHAR(40)), 1, 4) AS INTEGER) * 12
        + CAST(SUBSTR(CAST(created_at AS VARCHAR(40)), 6, 2) AS INTEGER) - 1
    FROM accounts_account WHERE accounts_account.id = billing_accountmonth.account_id
), 0)
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0001_initial"), ("billing", "0012_revenue_months")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="accountmonth",
            name="signed_up",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.RunSQL(_FILL, migrations.RunSQL.noop),
    ]
