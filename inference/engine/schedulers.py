"""Builds one scheduler per picture: by name, from the model's own noise schedule, with the asked-for settings.

A scheduler keeps a run's state (its step, past predictions), so it is never shared between pictures.
"""

from __future__ import annotations

import copy
import functools
import inspect
import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from inference.engine.errors import RenderFailed
from inference.engine.scheduler_names import ALGORITHMS, CLASSIC, FLOW, Choice, resolve

# Resolved once at import: diffusers' lazy attributes are not safe to touch from several threads.
CLASSES: dict[str, Any] = {name: getattr(diffusers, name) for name in (*CLASSIC, *FLOW)}
# Below this, PNDM has no room for its first steps of another kind and must leave them out.
PNDM_STEPS_MIN = 4
# Their step looks at nothing but the prediction and its place on the schedule, so several pictures may take it at once.
WITHOUT_MEMORY = ("DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")
# Fresh schedulers by the model's own and what was chosen: making one takes two milliseconds, of some classes a third of
# a second, while every job waits; copying one takes microseconds.
_templates: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Plan:
    """A chosen scheduler class with its settings: builds as many equal schedulers as there are pictures.

    `own` is the model's scheduler, whose noise schedule they follow.
    """

    class_name: str
    own: Any
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    def build(self, seed: int) -> Any:
        made = _templates.setdefault(self.own, {})
        key = (self.class_name, *sorted(self.settings.items()))
        if key not in made:
            made[key] = CLASSES[self.class_name].from_config(dict(self.own.config), **self.settings)
        scheduler = _copied(made[key])
        if self.class_name == "DPMSolverSDEScheduler":
            scheduler.noise_sampler_seed = seed  # Its Brownian tree does not look at the generator.
        return scheduler

    def pace(self, timesteps: torch.Tensor) -> Hashable:
        """Pictures of equal pace, at the same step of `timesteps`, may take it together. None steps alone."""
        if self.class_name not in WITHOUT_MEMORY or self.own.config.get("stochastic_sampling", False):
            return None
        return (id(self.own), self.class_name, *sorted(self.settings.items()), *timesteps.tolist())

    @property
    def uses_karras_sigmas(self) -> bool:
        return bool(self.settings.get("use_karras_sigmas", False))

    @property
    def algorithm_type(self) -> str | None:
        return self.settings.get("algorithm_type")


def _copied(fresh: Any) -> Any:
    """A scheduler that shares the noise schedule's numbers with the fresh one: no step writes into those. What it
    remembers of a run are lists, which each copy has for itself.
    """
    scheduler = copy.copy(fresh)
    for name, value in vars(fresh).items():
        if isinstance(value, list | dict) and name != "_internal_dict":
            setattr(scheduler, name, value.copy())
    return scheduler


def plan(
    own: Any,
    *,
    name: str | None,
    karras: bool = False,
    algorithm: str | None = None,
    steps: int,
    from_picture: bool = False,
    allowed: tuple[str, ...],
) -> Plan:
    """The scheduler `name` on the schedule of `own` (the model's scheduler). None means the model's own class.

    `allowed` are the classes that fit the model's family; another choice falls back to the model's own with a note.
    So does one that cannot start from a picture.
    """
    own_name = type(own).__name__
    choice = _choice(name, own_name)
    notes = [choice.note] if choice.note else []
    if choice.class_name not in allowed and choice.class_name != own_name:
        notes.append(f"{choice.class_name} does not fit this family of models; {own_name} was used.")
        choice = Choice(own_name)
    if from_picture and not hasattr(CLASSES[choice.class_name], "add_noise") and choice.class_name in CLASSIC:
        notes.append(f"{choice.class_name} cannot start from a picture; {own_name} was used.")
        choice = Choice(own_name)
    accepted = _parameters(CLASSES[choice.class_name].__init__)
    settings = {field: value for field, value in choice.settings.items() if field in accepted}
    if settings.keys() != choice.settings.keys():
        refused = ", ".join(sorted(choice.settings.keys() - settings.keys()))
        notes.append(f"{refused} had no effect: {choice.class_name} has no such choice.")
    if karras and "use_karras_sigmas" in accepted and "use_exponential_sigmas" not in settings:
        settings["use_karras_sigmas"] = True
    wanted = ALGORITHMS.get((algorithm or "").strip().lower())
    if wanted and "algorithm_type" in accepted and choice.class_name.startswith("DPMSolver"):
        settings["algorithm_type"] = wanted
    if choice.class_name == "PNDMScheduler" and steps < PNDM_STEPS_MIN:
        settings["skip_prk_steps"] = True
    return Plan(choice.class_name, own, settings, tuple(notes))


def _choice(name: str | None, own_name: str) -> Choice:
    if not name or not name.strip() or name.strip().lower() in ("none", "null", "default"):
        return Choice(own_name)
    choice = resolve(name)
    if choice is None:
        raise RenderFailed(code="invalid_scheduler", message=f"There is no scheduler {name!r}.")
    return choice


def step_arguments(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """What this class's `step` wants beside prediction, timestep and latents. No added noise (eta), as pipelines do."""
    accepted = _parameters(type(scheduler).step)
    arguments: dict[str, Any] = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in arguments.items() if name in accepted}


@functools.cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
