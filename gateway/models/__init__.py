"""The edge's own rows: idempotency keys, the dispatcher's leadership, webhooks, what staff did, how the parts
did, and what accounts make of their pictures."""

from gateway.models.audit import AuditRun, StaffAction
from gateway.models.features import Feature, FeatureOff
from gateway.models.gallery import Collection, CollectionItem, DeletedCall, SharedLink
from gateway.models.idempotency import IdempotencyRecord
from gateway.models.imports import ImportKind, ImportState, ModelImport
from gateway.models.leadership import Leadership
from gateway.models.notices import Announcement, RefusalBucket, Tone
from gateway.models.outage import LimitOutage
from gateway.models.quotas import KeyDay
from gateway.models.revision import Revision
from gateway.models.status import Incident, ProbeDay
from gateway.models.webhooks import (
    AlertAddress,
    DeliveryState,
    WebhookAttempt,
    WebhookDelivery,
    WebhookReceiver,
    WebhookSecret,
)

__all__ = [
    "AlertAddress",
    "Announcement",
    "AuditRun",
    "Collection",
    "CollectionItem",
    "DeletedCall",
    "DeliveryState",
    "Feature",
    "FeatureOff",
    "IdempotencyRecord",
    "ImportKind",
    "ImportState",
    "Incident",
    "KeyDay",
    "Leadership",
    "LimitOutage",
    "ModelImport",
    "ProbeDay",
    "RefusalBucket",
    "Revision",
    "SharedLink",
    "StaffAction",
    "Tone",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookReceiver",
    "WebhookSecret",
]
