"""What the machine under a render worker tells of itself: its name, and what NVIDIA's driver knows of the device.

What it does not tell (no such driver, a slice of a device, a right that is missing) is None, never a guess.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Machine:
    """`device_uuid` is the driver's name of the device ("GPU-..."), empty where there is none."""

    def __init__(self, device_uuid: str = "") -> None:
        self.host = socket.gethostname()
        self._nvml, self._device = _nvml_open(device_uuid)

    def facts(self) -> dict[str, Any]:
        """As of now. Temperatures are degrees Celsius, sizes bytes, utilisation the share of the last sampling period
        (at most a second) in which a kernel ran, in percent."""
        return {"host": self.host, **self._device_facts()}

    def _device_facts(self) -> dict[str, Any]:
        nvml, device = self._nvml, self._device
        if nvml is None:
            return {}
        memory = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(device))
        return {
            "gpu": _text(_told(lambda: nvml.nvmlDeviceGetName(device))),
            "gpu_count": _told(nvml.nvmlDeviceGetCount),
            "driver": _text(_told(nvml.nvmlSystemGetDriverVersion)),
            "gpu_celsius": _told(lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_percent": _told(lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu),
            "gpu_memory_used_bytes": memory and memory.used,
            "gpu_memory_bytes": memory and memory.total,
        }


def _nvml_open(device_uuid: str) -> tuple[Any, Any]:
    if not device_uuid:
        return None, None
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(device_uuid)
    except Exception as problem:  # noqa: BLE001 - of whatever kind: the renders go on without these figures
        logger.warning("The driver tells nothing of %s: %s", device_uuid, problem)
        return None, None


def _told(ask: Callable[[], Any]) -> Any:
    """One question failing says nothing of the others."""
    with contextlib.suppress(Exception):
        return ask()
    return None


def _text(value: Any) -> Any:
    """Older drivers' libraries answer with bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
