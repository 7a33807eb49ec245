"""diffusers' noise schedulers under their wire names, one instance per image."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import diffusers
import torch

from backend.errors import ModelFailed, Violation
from backend.model.devices import one_torch_thread
from backend.model.unipc import UniPC


class Recipe(NamedTuple):
    """A class of diffusers, and settings that replace those of the model's scheduler config."""

    class_name: str
    settings: Mapping[str, Any]


NO_SIGMAS = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
}
DPMPP_2M = NO_SIGMAS | {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
}

RECIPES: Mapping[str, Recipe] = {
    "pndm": Recipe("PNDMScheduler", {}),
    "ddim": Recipe("DDIMScheduler", {}),
    "ddpm": Recipe("DDPMScheduler", {}),
    "euler": Recipe("EulerDiscreteScheduler", {}),
    "euler_ancestral": Recipe("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": Recipe("DPMSolverMultistepScheduler", DPMPP_2M),
    "dpmpp_2m_karras": Recipe(
        "DPMSolverMultistepScheduler", DPMPP_2M | {"use_karras_sigmas": True}
    ),
    "dpmpp_2m_sde": Recipe(
        "DPMSolverMultistepScheduler", DPMPP_2M | {"algorithm_type": "sde-dpmsolver++"}
    ),
    "unipc": Recipe("UniPCMultistepScheduler", {}),
    "heun": Recipe("HeunDiscreteScheduler", {}),
    "lms": Recipe("LMSDiscreteScheduler", {}),
    "lcm": Recipe("LCMScheduler", {}),
    "tcd": Recipe("TCDScheduler", {}),
}
OURS = {"UniPCMultistepScheduler": UniPC}
NO_SAMPLE_PREDICTION = ("pndm", "euler_ancestral")
PRK_STEPS = 4  # PNDM's Runge-Kutta warm-up needs this many timesteps


class NoiseSchedulers:
    """Makes noise schedulers from the model's own scheduler config."""

    def __init__(self, class_name: str, config: Mapping[str, Any]) -> None:
        """Use the model's own scheduler: diffusers' class name and its config.

        Raises:
            ModelFailed: an unsupported family, for example flow matching.
        """
        # diffusers clips by default, as for pixels; latents are unbounded.
        self._config = {"clip_sample": False} | dict(config)
        self.prediction_type = str(config.get("prediction_type", "epsilon"))
        self.num_train_timesteps = int(config.get("num_train_timesteps", 1000))
        self._ready = lru_cache(maxsize=128)(self._set_up)
        self.names = tuple(name for name in RECIPES if self._objection(name) is None)
        self.default = self._default(class_name)
        self.alphas_cumprod: torch.Tensor = self._construct("ddpm").alphas_cumprod

    def create(self, name: str, num_inference_steps: int) -> Any:
        """A new noise scheduler for one image, with its timesteps set, on the CPU."""
        return fork(self._ready(name, num_inference_steps))

    def violation(self, name: str, num_inference_steps: int) -> Violation | None:
        """Why this combination is not possible or would give no image; None if it works."""
        objection = self._objection(name)
        if objection is not None:
            return Violation("scheduler", objection, "UNSUPPORTED")
        objection = self._objection_to_steps(name, num_inference_steps)
        if objection is not None:
            return Violation("num_inference_steps", objection, "UNSUPPORTED")
        return None

    def _objection(self, name: str) -> str | None:
        if name not in RECIPES:
            return f"Must be one of {', '.join(RECIPES)}."
        if self.prediction_type == "sample" and name in NO_SAMPLE_PREDICTION:
            return f"{name} can't be used with this model, which predicts the sample itself."
        if name == "lms" and find_spec("scipy") is None:
            return "lms needs the package scipy, which is not installed on the server."
        if self._config.get("rescale_betas_zero_snr") and name == "pndm":
            return "pndm can't be used with this model, whose noise schedule ends in pure noise."
        return None

    def _objection_to_steps(self, name: str, steps: int) -> str | None:
        most = self.num_train_timesteps
        if name in ("lcm", "tcd"):
            most = min(most, int(self._config.get("original_inference_steps", 50)))
        if steps > most:
            return f"{name} takes at most {most} steps with this model, not {steps}."
        if name == "pndm" and not self._config.get("skip_prk_steps") and steps < PRK_STEPS:
            return f"pndm needs at least {PRK_STEPS} steps with this model, not {steps}."
        if not _is_sound(self._ready(name, steps), self.num_train_timesteps):
            return f"{name} can't divide this model's schedule into {steps} steps: try fewer."
        return None

    def _default(self, class_name: str) -> str:
        own = [name for name, recipe in RECIPES.items() if recipe.class_name == class_name]
        if not own:
            known = ", ".join(sorted({recipe.class_name for recipe in RECIPES.values()}))
            raise ModelFailed(
                f"Its noise scheduler is {class_name}, which isn't supported: use one of {known}."
            )
        if class_name != "DPMSolverMultistepScheduler":
            return own[0]
        if "sde" in str(self._config.get("algorithm_type")):
            return "dpmpp_2m_sde"
        return "dpmpp_2m_karras" if self._config.get("use_karras_sigmas") else "dpmpp_2m"

    def _set_up(self, name: str, num_inference_steps: int) -> Any:
        with one_torch_thread():
            noise_scheduler = self._construct(name)
            noise_scheduler.set_timesteps(num_inference_steps, device="cpu")
        if isinstance(noise_scheduler, diffusers.LMSDiscreteScheduler):
            # Numerical integrals over the sigmas take 10 ms per step; copies share the cache.
            noise_scheduler.get_lms_coefficient = cache(noise_scheduler.get_lms_coefficient)
        return noise_scheduler

    def _construct(self, name: str) -> Any:
        recipe = RECIPES[name]
        scheduler_class = OURS.get(recipe.class_name) or getattr(diffusers, recipe.class_name)
        return scheduler_class.from_config(self._config, **recipe.settings)


def _is_sound(noise_scheduler: Any, num_train_timesteps: int) -> bool:
    """Whether all timesteps are within the trained range, and no step has length zero.

    With almost as many steps as trained timesteps, an offset can exceed the last one, and rounding
    makes neighbours equal, by whose distance multistep solvers divide.
    """
    timesteps = noise_scheduler.timesteps
    if not 0 <= float(timesteps.min()) <= float(timesteps.max()) <= num_train_timesteps - 1:
        return False
    if noise_scheduler.order > 1 or not hasattr(noise_scheduler, "sigmas"):
        return True  # Heun uses every sigma twice
    return bool((noise_scheduler.sigmas.diff() < 0).all())


def fork(noise_scheduler: Any) -> Any:
    """An independent copy that shares constant tables.

    Steps change lists, latents-shaped tensors (PNDM adds to one in place) and plain values. The
    tables of betas and sigmas have one dimension and are never changed.
    """
    twin = object.__new__(type(noise_scheduler))
    for name, value in vars(noise_scheduler).items():
        if isinstance(value, list):
            value = value.copy()
        elif isinstance(value, torch.Tensor) and value.ndim > 1:
            value = value.clone()
        twin.__dict__[name] = value
    return twin


def timesteps_of(noise_scheduler: Any) -> Sequence[Any]:
    """The timesteps to pass to `step`, one per evaluation.

    As numbers, since table look-ups with tensors are slower. LCM computes with them, so it gets
    float32 tensors as from diffusers' pipeline.
    """
    timesteps: torch.Tensor = noise_scheduler.timesteps
    if isinstance(noise_scheduler, diffusers.LCMScheduler):
        return timesteps.unbind()
    numbers: list[float] = timesteps.tolist()
    return numbers


def takes_generator(noise_scheduler: Any) -> bool:
    """Whether its `step` takes a generator to draw noise."""
    return _takes_generator(type(noise_scheduler).step)


@lru_cache(maxsize=64)
def _takes_generator(step: Callable[..., Any]) -> bool:
    # Cached: for a small model, inspecting signatures would be 20 % of a step's overhead.
    return "generator" in inspect.signature(step).parameters


def predict_original(
    model_input: torch.Tensor, prediction: torch.Tensor, alpha_cumprod: float, prediction_type: str
) -> torch.Tensor:
    """The final latents that one prediction implies; same shape as the inputs.

    Formulas (12) and (15) of DDPM (https://arxiv.org/abs/2006.11239) and appendix D of
    progressive distillation (https://arxiv.org/abs/2202.00512); `scale_model_input` brings
    the sigma-scaled schedulers to this same variance-preserving form.

    Args:
        model_input: the UNet's input, [..., channels, h, w].
        prediction: the UNet's output with guidance applied.
        alpha_cumprod: at the timestep, 0 to 1.
        prediction_type: epsilon, v_prediction or sample.
    """
    if prediction_type == "sample":
        return prediction
    signal, noise = math.sqrt(alpha_cumprod), math.sqrt(1 - alpha_cumprod)
    if prediction_type == "v_prediction":
        return signal * model_input - noise * prediction
    return (model_input - noise * prediction) / max(signal, 1e-4)
