"""A day of each render worker, its log as told last, and the attempts that failed."""

from typing import ClassVar

from django.db import migrations, models

STATES = [
    ("starting", "Starting"),
    ("idle", "Idle"),
    ("busy", "Busy"),
    ("draining", "Draining"),
    ("lost", "Lost"),
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("inference", "0005_deprecation")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="WorkerMinute",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("worker", models.CharField(max_length=80)),
                ("minute", models.DateTimeField(db_index=True)),
                ("state", models.CharField(choices=STATES, max_length=10)),
                ("memory_used_bytes", models.BigIntegerField(null=True)),
                ("gpu_memory_used_bytes", models.BigIntegerField(null=True)),
                ("gpu_percent", models.PositiveSmallIntegerField(null=True)),
                ("gpu_celsius", models.SmallIntegerField(null=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("worker", "minute"), name="worker_minute_once")],
            },
        ),
        migrations.CreateModel(
            name="WorkerLog",
            fields=[
                ("worker", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("asked_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(null=True)),
                ("lines", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="RenderFault",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("generation_id", models.BigIntegerField()),
                ("attempt", models.PositiveSmallIntegerField()),
                ("worker", models.CharField(blank=True, max_length=80)),
                ("code", models.CharField(max_length=60)),
                ("message", models.CharField(blank=True, max_length=1000)),
                ("trace", models.TextField(blank=True)),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("generation_id", "attempt"), name="render_fault_once")
                ],
            },
        ),
    ]
