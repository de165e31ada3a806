"""The catalogue of models and adapters, the generations and their pictures, and the render workers as they report.

Accounts are known by id and money not at all. States move only through inference.states.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from inference.engine.spec import Family, Operation


class ImageModel(models.Model):
    """One entry of the catalogue. `source` says to the render worker where the weights are (see engine.spec.ModelRef).

    Numbers are the model's own defaults and caps: steps above `steps_max` are capped as the API documents, sizes above
    `side_px_max` are refused. `price_code` is what billing knows of it.
    """

    model_id = models.CharField(max_length=120, unique=True)
    provider = models.CharField(max_length=60, default="local")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    family = models.CharField(max_length=12, choices=[(f.value, f.value) for f in Family])
    operations = models.JSONField(default=list)
    source = models.CharField(max_length=400)
    revision = models.CharField(max_length=80, blank=True)
    variant = models.CharField(max_length=20, blank=True)
    prediction_type = models.CharField(max_length=20, blank=True)
    trigger_words = models.CharField(max_length=200, blank=True)
    price_code = models.CharField(max_length=40)
    width_px_default = models.PositiveIntegerField(default=512)
    height_px_default = models.PositiveIntegerField(default=512)
    side_px_min = models.PositiveIntegerField(default=64)
    side_px_max = models.PositiveIntegerField(default=1024)
    steps_default = models.PositiveIntegerField(default=20)
    steps_max = models.PositiveIntegerField(default=50)
    guidance_scale_default = models.FloatField(default=7.5)
    scheduler_default = models.CharField(max_length=60, blank=True)
    samples_max = models.PositiveSmallIntegerField(default=4)
    licence = models.CharField(max_length=120, blank=True)
    thumbnail = models.CharField(max_length=200, blank=True)
    tags = models.JSONField(default=list, blank=True)
    # Pictures that show what it draws: objects with `picture` (an address of this host or a key of the picture store)
    # and `call` (the fields of the API that made it).
    examples = models.JSONField(default=list, blank=True)
    published = models.BooleanField(default=True)
    # Announced to those who use it: from when, until when it is kept, and what to use instead.
    deprecated_at = models.DateTimeField(null=True, blank=True)
    sunset_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.model_id


class AdapterKind(models.TextChoices):
    LORA = "lora"
    EMBEDDING = "embedding"
    CONTROLNET = "controlnet"
    VAE = "vae"
    IP_ADAPTER = "ip_adapter"


class Adapter(models.Model):
    """Weights that join a model: LoRA, embedding, ControlNet (by its kind of hint), VAE, IP-Adapter."""

    adapter_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=12, choices=AdapterKind.choices)
    family = models.CharField(max_length=12, choices=[(f.value, f.value) for f in Family])
    # For a ControlNet: canny, depth, ...; empty for the others.
    control_kind = models.CharField(max_length=30, blank=True)
    name = models.CharField(max_length=120)
    source = models.CharField(max_length=400)
    trigger_words = models.CharField(max_length=200, blank=True)
    published = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["adapter_id", "family"], name="adapter_once")]

    def __str__(self) -> str:
        return f"{self.adapter_id} ({self.kind})"


class GenerationState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNSETTLED = (GenerationState.WAITING, GenerationState.RUNNING)


class Generation(models.Model):
    """One accepted call. The table is the queue: a waiting row is given to a render worker, whatever crashed before.

    `spec` is the complete RenderSpec; `asked` is the request as the client sent it, without its key and without
    pictures; `reply` says how to answer (base64, temp). `unit_price_microusd` and `plan_code` were frozen at admission.
    A running row is leased: `worker` may render attempt `attempt` until `lease_until`.
    """

    id = models.BigIntegerField(primary_key=True)
    account_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    token = models.CharField(max_length=32)
    state = models.CharField(max_length=9, choices=GenerationState.choices, default=GenerationState.WAITING)
    operation = models.CharField(max_length=20, choices=[(o.value, o.value) for o in Operation])
    endpoint = models.CharField(max_length=60)
    api_version = models.CharField(max_length=10)
    model_id = models.CharField(max_length=120)
    plan_code = models.CharField(max_length=24)
    unit_price_microusd = models.BigIntegerField()
    funding = models.CharField(max_length=9)
    weight = models.PositiveSmallIntegerField(default=1)
    priority = models.SmallIntegerField(default=0)
    images_requested = models.PositiveSmallIntegerField()
    width_px = models.PositiveIntegerField()
    height_px = models.PositiveIntegerField()
    work_kilopixel_steps = models.PositiveBigIntegerField()
    spec = models.JSONField()
    asked = models.JSONField()
    reply = models.JSONField(default=dict)
    webhook_url = models.CharField(max_length=2000, blank=True)
    track_id = models.JSONField(null=True)
    created_at = models.DateTimeField()

    worker = models.CharField(max_length=80, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    step = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)

    finished_at = models.DateTimeField(null=True)
    images_delivered = models.PositiveSmallIntegerField(default=0)
    charged_microusd = models.BigIntegerField(default=0)
    result = models.JSONField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=1000, blank=True)
    # When prompts and pictures were deleted; what is counted and paid stays (inference.erasing).
    erased_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account_id", "id"], name="generation_by_account"),
            models.Index(
                fields=["state", "created_at"],
                name="generation_unsettled",
                condition=Q(state__in=("waiting", "running")),
            ),
        ]

    def __str__(self) -> str:
        return f"generation {self.pk} {self.state}"

    @property
    def settled(self) -> bool:
        return self.state not in UNSETTLED

    @property
    def images(self) -> list[dict[str, Any]]:
        """The delivered pictures as the render worker reported them (engine.spec.RenderedImage as dictionaries)."""
        return self.result["images"] if self.result else []


class WorkerState(models.TextChoices):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    LOST = "lost"


class RenderWorker(models.Model):
    """A render worker as its own messages describe it. `report` is its last status, whole."""

    name = models.CharField(max_length=80, primary_key=True)
    state = models.CharField(max_length=10, choices=WorkerState.choices, default=WorkerState.STARTING)
    slots = models.PositiveSmallIntegerField(default=1)
    # Model ids that it may serve; an empty list is every model. An owner makes it serve that account alone.
    serves = models.JSONField(default=list, blank=True)
    owner_account_id = models.BigIntegerField(null=True, blank=True)
    resident = models.JSONField(default=list, blank=True)
    report = models.JSONField(default=dict, blank=True)
    version = models.CharField(max_length=40, blank=True)
    cost_microusd_per_hour = models.BigIntegerField(default=0)
    draining = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"


class WorkerMinute(models.Model):
    """How a render worker was in one minute (UTC): the first message that it sent in it. In a minute without a row it
    was silent. `gpu_*` are what the device's driver told, None where it tells nothing."""

    id = models.BigAutoField(primary_key=True)
    worker = models.CharField(max_length=80)
    minute = models.DateTimeField(db_index=True)
    state = models.CharField(max_length=10, choices=WorkerState.choices)
    memory_used_bytes = models.BigIntegerField(null=True)
    gpu_memory_used_bytes = models.BigIntegerField(null=True)
    gpu_percent = models.PositiveSmallIntegerField(null=True)
    gpu_celsius = models.SmallIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["worker", "minute"], name="worker_minute_once")]

    def __str__(self) -> str:
        return f"{self.worker} {self.minute:%Y-%m-%d %H:%M} {self.state}"


class WorkerLog(models.Model):
    """The last lines of a render worker's log as it told them last, and when they were asked for."""

    worker = models.CharField(max_length=80, primary_key=True)
    asked_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)
    lines = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"log of {self.worker}"


class RenderFault(models.Model):
    """One attempt that failed or was lost, whether or not the next one went well. `trace` is for the operator alone."""

    id = models.BigAutoField(primary_key=True)
    generation_id = models.BigIntegerField()
    attempt = models.PositiveSmallIntegerField()
    worker = models.CharField(max_length=80, blank=True)
    code = models.CharField(max_length=60)
    message = models.CharField(max_length=1000, blank=True)
    trace = models.TextField(blank=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["generation_id", "attempt"], name="render_fault_once"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.generation_id}: {self.code}"
