"""Abilities in GetStatus on demand, and CheckPrompt."""

from __future__ import annotations

from dataclasses import replace

import grpc

from backend.abilities import Abilities, Example, Thing
from proto import text2image_pb2 as pb
from tests.support.fakes import INFO, FakeModel
from tests.support.served import TIMEOUT_S, fields_of, refusal_of, served

ABILITIES = Abilities(
    about="One thing at a time.",
    token_limit=8,
    sizes=((64, 64),),
    things=(Thing("dog face", "animals", "🐶", ("dog",), ("dogs",)),),
    colours={"red": ("red", "crimson")},
    modifiers=("a",),
    near={"dog face": ("wolf",)},
    examples=(Example("a red dog", 3, b"webp"),),
)


def declaring() -> FakeModel:
    """A model with abilities."""
    model = FakeModel()
    model.info = replace(INFO, abilities=ABILITIES)
    return model


async def test_the_status_carries_abilities_only_where_asked() -> None:
    async with served(declaring()) as running:
        plain = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=TIMEOUT_S)
        assert not plain.models[0].HasField("abilities")
        asked = pb.GetStatusRequest(include_abilities=True)
        told = (await running.stub.GetStatus(asked, timeout=TIMEOUT_S)).models[0].abilities
        assert told.about == "One thing at a time."
        assert [(size.width, size.height) for size in told.sizes] == [(64, 64)]
        (thing,) = told.things
        assert (thing.name, thing.emoji, list(thing.synonyms)) == ("dog face", "🐶", ["dog"])
        assert list(told.colours[0].words) == ["red", "crimson"]
        assert (told.examples[0].prompt, told.examples[0].thumbnail) == ("a red dog", b"webp")


async def test_a_prompt_is_checked_without_generating() -> None:
    model = declaring()
    async with served(model) as running:
        request = pb.CheckPromptRequest(prompt="a red wolf")
        (warning,) = (await running.stub.CheckPrompt(request, timeout=TIMEOUT_S)).warnings
        assert (warning.field, warning.reason) == ("prompt", "UNKNOWN_WORD")
        assert (warning.excerpt, list(warning.alternatives)) == ("wolf", ["dog face"])
        fine = await running.stub.CheckPrompt(pb.CheckPromptRequest(prompt="a red dog"))
        assert not fine.warnings
        assert model.prepared == []
        assert (await running.counters()).received == 0


async def test_a_model_without_abilities_warns_of_nothing() -> None:
    async with served() as running:
        answer = await running.stub.CheckPrompt(pb.CheckPromptRequest(prompt="blurb"))
        assert not answer.warnings
        asked = pb.GetStatusRequest(include_abilities=True)
        assert not (await running.stub.GetStatus(asked)).models[0].HasField("abilities")


async def test_too_long_a_prompt_and_an_unknown_model_are_refused() -> None:
    async with served(declaring()) as running:
        long = pb.CheckPromptRequest(prompt="x" * 2001)
        error = await refusal_of(running.stub.CheckPrompt(long, timeout=TIMEOUT_S))
        assert fields_of(error) == ["prompt"]
        other = pb.CheckPromptRequest(prompt="x", model="sd-9")
        error = await refusal_of(running.stub.CheckPrompt(other, timeout=TIMEOUT_S))
        assert error.code() is grpc.StatusCode.NOT_FOUND
