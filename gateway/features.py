"""Which features are on. A change reaches every process within a second (gateway.caching); the console switches."""

from __future__ import annotations

from gateway.caching import TtlCache
from gateway.models import Feature, FeatureOff

_off: TtlCache[str, frozenset[str]] = TtlCache(entries_max=1)


def features_off() -> frozenset[str]:
    """As of a second ago at most."""
    return _off.get("", lambda: frozenset(FeatureOff.objects.values_list("name", flat=True)))


def feature_on(feature: Feature) -> bool:
    return feature.value not in features_off()
