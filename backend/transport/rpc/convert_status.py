"""Converts the service's status to its protobuf message."""

from __future__ import annotations

from backend.abilities import Abilities, Words
from backend.domain import ServiceStatus
from backend.params import ModelInfo
from backend.transport.rpc.messages import message
from proto import text2image_pb2 as pb

WORDS = ("colours", "backgrounds", "landscapes", "looks", "counts", "compositions")
NO_MODEL = ModelInfo("")


def status_to_pb(status: ServiceStatus, *, include_abilities: bool = False) -> pb.GetStatusResponse:
    """The service's status; the models' abilities only with `include_abilities`."""
    answer = pb.GetStatusResponse
    default = status.models[0] if status.models else NO_MODEL
    return message(
        answer,
        status,
        models=[_model_to_pb(model, include_abilities) for model in status.models],
        queue=message(answer.Queue, status),
        schedulers=default.schedulers,
        loras=default.loras,
        embeddings=default.embeddings,
        adapters=[message(answer.Adapter, one) for one in default.adapters],
    )


def _model_to_pb(model: ModelInfo, include_abilities: bool) -> pb.GetStatusResponse.Model:
    abilities = model.abilities if include_abilities else None
    figures = model.figures if include_abilities else ()
    return message(
        pb.GetStatusResponse.Model,
        model,
        figures=[message(pb.GetStatusResponse.Model.Figure, figure) for figure in figures],
        abilities=_abilities_to_pb(abilities) if abilities is not None else None,
    )


def _abilities_to_pb(abilities: Abilities) -> pb.Abilities:
    return message(
        pb.Abilities,
        abilities,
        sizes=[pb.Abilities.Size(width=w, height=h) for w, h in abilities.sizes],
        **{kind: _words_to_pb(getattr(abilities, kind)) for kind in WORDS},
    )


def _words_to_pb(words: Words) -> list[pb.Abilities.Words]:
    return [pb.Abilities.Words(name=name, words=texts) for name, texts in words.items()]
