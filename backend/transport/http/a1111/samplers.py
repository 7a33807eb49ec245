"""Maps A1111's samplers and schedules to our noise schedulers.

Until version 1.8 a sampler name included the schedule ("DPM++ 2M Karras"); since then they are two
fields. stable-diffusion.cpp writes "dpm++2m" and "euler_a". All of these are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from backend.images import SAMPLERS
from backend.transport.http.a1111.problem import not_found
from backend.transport.http.problem import Json

# Names for the model's own noise scheduler.
OWN = ("", "automatic", "default")
SCHEDULES = ("karras", "exponential", "polyexponential", "sgmuniform", "uniform", "simple", "beta")
ABBREVIATED = {"dpmpp2mka": "dpmpp_2m_karras"}  # k-diffusion's
ALIASES = {
    "euler": ["k_euler"],
    "euler_ancestral": ["k_euler_a", "k_euler_ancestral"],
    "dpmpp_2m": ["k_dpmpp_2m"],
    "dpmpp_2m_karras": ["k_dpmpp_2m_ka"],
    "dpmpp_2m_sde": ["k_dpmpp_2m_sde"],
    "heun": ["k_heun"],
    "lms": ["k_lms"],
    "pndm": ["pndm"],
}
AUTOMATIC = ("automatic", "Automatic", -1.0)
KARRAS = ("karras", "Karras", 7.0)


def scheduler_of(sampler: str, schedule: str, served: Sequence[str]) -> str:
    """Our noise scheduler's name; empty for the model's own.

    A schedule that we don't have for the sampler is ignored, like A1111 ignores unknown ones; the
    infotext shows what was used.

    Raises:
        Problem: 404; no such sampler.
    """
    name, schedule = _plain(sampler), _plain(schedule)
    if name in OWN:
        return ""
    if name not in _BY_NAME:
        name, schedule = _split(name, schedule)
    found = _BY_NAME.get(f"{name}{schedule}", _BY_NAME.get(name, name))
    if found not in served:
        known = ", ".join(item["name"] for item in list_samplers(served))
        raise not_found(f"Sampler not found. There are: {known}.")
    return found


def list_samplers(served: Iterable[str]) -> list[Json]:
    """The answer of /sdapi/v1/samplers."""
    return [
        {"name": name_of(scheduler), "aliases": ALIASES.get(scheduler, []), "options": {}}
        for scheduler in served
    ]


def list_schedules(served: Iterable[str]) -> list[Json]:
    """The answer of /sdapi/v1/schedulers."""
    found = [AUTOMATIC, KARRAS] if "dpmpp_2m_karras" in served else [AUTOMATIC]
    return [
        {
            "name": name,
            "label": label,
            "aliases": None,
            "default_rho": rho,
            "need_inner_model": False,
        }
        for name, label, rho in found
    ]


def name_of(scheduler: str) -> str:
    """A1111's sampler name including the schedule, as before version 1.9."""
    sampler, schedule = SAMPLERS.get(scheduler, (scheduler, None))
    return f"{sampler} {schedule}" if schedule else sampler


def _split(name: str, schedule: str) -> tuple[str, str]:
    """Split a schedule off the end of a name; ignored if one is given separately."""
    for known in SCHEDULES:
        if name.endswith(known):
            return name.removesuffix(known), schedule or known
    return name, schedule


def _plain(name: str) -> str:
    """Lower case letters and digits: "DPM++ 2M" and "k_dpmpp_2m" are both dpmpp2m."""
    text = name.strip().lower().removeprefix("k_").replace("++", "pp")
    return re.sub(r"[\s_-]+", "", text)


def _names() -> dict[str, str]:
    found = dict(ABBREVIATED)
    for scheduler in SAMPLERS:
        found |= {_plain(scheduler): scheduler, _plain(name_of(scheduler)): scheduler}
    return found


_BY_NAME = _names()
