"""What an order needs of the catalogue, remembered for a second: the model that draws, and what joins it."""

from __future__ import annotations

from django.conf import settings

from gateway.caching import TtlCache
from inference.engine.spec import Family, Operation
from inference.errors import AdapterNotFound, CapabilityMissing, ModelNotFound, OperationNotSupported
from inference.models import Adapter
from inference.selectors import CatalogueModel, adapter_find, controlnet_find, model_find, models_published

# Names that the older service knew for its own enlargers and background removers. A client that sends one of them
# means "the usual one"; this catalogue may know it under another name.
USUAL_NAMES = frozenset(
    {
        "realesr-general-x4v3",
        "RealESRGAN_x4plus",
        "RealESRNet_x4plus",
        "RealESRGAN_x4plus_anime_6B",
        "RealESRGAN_x2plus",
        "ultra_resolution",
    }
)
# What an operator must add before an operation works, in words.
NEEDED = {
    Operation.UPSCALE: 'a model of the family "upscaler" (weights of the Real-ESRGAN kind)',
    Operation.REMOVE_BACKGROUND: 'a model of the family "background"',
    Operation.CHECK_SAFETY: 'a model of the family "safety" (the CLIP safety checker of Stable Diffusion)',
    Operation.CREATE_MASK: 'a model of the family "background" that can create masks',
}

_models: TtlCache[str, CatalogueModel | None] = TtlCache()
_able: TtlCache[str, tuple[str, ...]] = TtlCache()
_adapters: TtlCache[tuple[str, str, str], Adapter | None] = TtlCache()


def model_of(model_id: str) -> CatalogueModel:
    """Raises ModelNotFound. That there is none is remembered too: a refused call asks no table."""

    def find() -> CatalogueModel | None:
        try:
            return model_find(model_id)
        except ModelNotFound:
            return None

    model = _models.get(model_id, find)
    if model is None:
        raise ModelNotFound(model_id=model_id)
    return model


def model_for(operation: Operation, asked: str | None) -> CatalogueModel:
    """The model asked for, else the installation's default, else the first that can do this.

    Raises ModelNotFound, OperationNotSupported, CapabilityMissing.
    """
    if asked is None or (asked in USUAL_NAMES and operation in NEEDED):
        return _usual(operation, asked)
    model = model_of(asked)
    if operation.value not in model.operations:
        raise OperationNotSupported(
            model_id=model.model_id, operation=operation.value, supported=", ".join(model.operations) or "nothing yet"
        )
    return model


def _usual(operation: Operation, asked: str | None) -> CatalogueModel:
    candidates = [asked] if asked else []
    if operation not in NEEDED:
        candidates.append(settings.DEFAULT_MODEL_ID)
    for model_id in (*candidates, *_able.get(operation.value, lambda: _able_to(operation))):
        try:
            model = model_of(model_id)
        except ModelNotFound:
            continue
        if operation.value in model.operations:
            return model
    raise CapabilityMissing(
        operation=operation.value.replace("_", " "),
        needed=NEEDED.get(operation, f"a model that can do {operation.value}, or name it in DEFAULT_MODEL_ID"),
    )


def _able_to(operation: Operation) -> tuple[str, ...]:
    rows = models_published().values_list("model_id", "operations")
    return tuple(model_id for model_id, operations in rows if operation.value in operations)


def adapter_of(adapter_id: str, *, kind: str, family: Family) -> Adapter:
    """Raises AdapterNotFound."""
    found = _adapters.get(
        (kind, adapter_id, family.value), lambda: adapter_find(adapter_id=adapter_id, kind=kind, family=family)
    )
    if found is None:
        raise AdapterNotFound(kind=kind.replace("_", " "), adapter_id=adapter_id, family=family.value)
    return found


def controlnet_of(control_kind: str, *, family: Family) -> Adapter:
    """Raises CapabilityMissing: which ControlNets exist is the operator's choice."""
    found = _adapters.get(
        ("controlnet", control_kind, family.value),
        lambda: controlnet_find(control_kind=control_kind, family=family),
    )
    if found is None:
        raise CapabilityMissing(
            operation=f'ControlNet "{control_kind}" with models of the family {family.value}',
            needed=f'an adapter of the kind controlnet for "{control_kind}" and the family {family.value}',
        )
    return found
