from __future__ import annotations

import pytest

from backend.images import SAMPLERS
from backend.transport.http.a1111.samplers import list_samplers, list_schedules, scheduler_of
from backend.transport.http.problem import Problem

SERVED = tuple(SAMPLERS)


@pytest.mark.parametrize(
    ("sampler", "schedule", "scheduler"),
    [
        ("", "", ""),
        ("Automatic", "karras", ""),
        ("Euler", "", "euler"),
        ("Euler a", "Automatic", "euler_ancestral"),
        ("k_euler_a", "", "euler_ancestral"),
        ("euler_a", "discrete", "euler_ancestral"),  # stable-diffusion.cpp
        ("euler_ancestral", "", "euler_ancestral"),
        ("DPM++ 2M", "", "dpmpp_2m"),
        ("DPM++ 2M", "Karras", "dpmpp_2m_karras"),
        ("DPM++ 2M", "karras", "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "", "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "automatic", "dpmpp_2m_karras"),
        ("k_dpmpp_2m_ka", "", "dpmpp_2m_karras"),
        ("dpm++2m", "karras", "dpmpp_2m_karras"),
        ("DPM++ 2M", "Exponential", "dpmpp_2m"),
        ("DPM++ 2M SDE Karras", "", "dpmpp_2m_sde"),
        ("LMS Karras", "", "lms"),
        ("PLMS", "", "pndm"),
        ("UniPC", "", "unipc"),
        ("uni_pc", "", "unipc"),
        ("Heun", "no such", "heun"),
    ],
)
def test_both_ways_to_name_a_sampler(sampler: str, schedule: str, scheduler: str) -> None:
    assert scheduler_of(sampler, schedule, SERVED) == scheduler


def test_every_name_that_is_listed_is_understood() -> None:
    for item, scheduler in zip(list_samplers(SERVED), SERVED, strict=True):
        for name in (item["name"], *item["aliases"]):
            assert scheduler_of(name, "", SERVED) == scheduler


@pytest.mark.parametrize("sampler", ["DPM fast", "no such", "LMS", "Karras"])
def test_a_sampler_that_is_not_served_is_404_and_those_that_are_are_named(sampler: str) -> None:
    with pytest.raises(Problem) as caught:
        scheduler_of(sampler, "", ("ddim", "euler_ancestral"))
    assert caught.value.http_status == 404
    assert caught.value.message == "Sampler not found. There are: DDIM, Euler a."


def test_karras_is_listed_where_a_sampler_has_it() -> None:
    assert [one["name"] for one in list_schedules(SERVED)] == ["automatic", "karras"]
    assert [one["name"] for one in list_schedules(["ddim"])] == ["automatic"]
