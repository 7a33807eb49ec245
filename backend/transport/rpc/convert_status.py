"""Converts the service's status to its protobuf message."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from backend.abilities import Abilities, Words
from backend.domain import ReplicaStatus, ServiceStatus
from backend.params import ModelInfo
from proto import text2image_pb2 as pb

M = TypeVar("M", bound=Message)

OF_THEIR_OWN = {"state", "limits", "adapters", "default_loras", "abilities", "figures"}
SAME_IN_MODEL = [
    field.name
    for field in pb.GetStatusResponse.Model.DESCRIPTOR.fields
    if field.name not in OF_THEIR_OWN
]


def status_to_pb(status: ServiceStatus, *, include_abilities: bool = False) -> pb.GetStatusResponse:
    """The service's status; the models' abilities only with `include_abilities`."""
    answer = pb.GetStatusResponse
    resources = status.resources
    return answer(
        state=f"STATE_{status.state.name}",
        message=status.message,
        version=status.version,
        uptime_s=status.uptime_s,
        models=[_model_to_pb(model, include_abilities) for model in status.models],
        queue=_flat(answer.Queue, status),
        counters=_flat(answer.Counters, status.counters),
        latency=_flat(answer.Latency, status.latency),
        resources=answer.Resources(
            cpu_percent=resources.cpu_percent,
            process_memory_bytes=resources.process_memory_bytes,
            system_memory_bytes=resources.system_memory_bytes,
            system_memory_used_bytes=resources.system_memory_used_bytes,
            gpus=[_flat(answer.Gpu, gpu) for gpu in resources.gpus],
        ),
        limits=_flat(answer.Limits, status.limits),
        schedulers=status.models[0].schedulers if status.models else (),
        loras=status.models[0].loras if status.models else (),
        embeddings=status.models[0].embeddings if status.models else (),
        adapters=[_flat(answer.Adapter, one) for one in status.models[0].adapters]
        if status.models
        else (),
        upscalers=status.upscalers,
        histograms=[_flat(answer.Histogram, found) for found in status.histograms],
        last_hour=[_flat(answer.Histogram, found) for found in status.last_hour],
        replicas=[_replica_to_pb(replica) for replica in status.replicas],
    )


def _replica_to_pb(replica: ReplicaStatus) -> pb.GetStatusResponse.Replica:
    return pb.GetStatusResponse.Replica(
        name=replica.name,
        state=f"STATE_{replica.state.name}",
        message=replica.message,
        host=replica.host,
        device=replica.device,
        running=replica.running,
        process_memory_bytes=replica.process_memory_bytes,
    )


def _model_to_pb(model: ModelInfo, include_abilities: bool) -> pb.GetStatusResponse.Model:
    answer = pb.GetStatusResponse
    message = answer.Model(
        state=f"MODEL_STATE_{model.state.name}",
        limits=_flat(answer.Limits, model.limits),
        adapters=[_flat(answer.Adapter, one) for one in model.adapters],
        default_loras=[_flat(pb.Lora, lora) for lora in model.default_loras],
        **{name: getattr(model, name) for name in SAME_IN_MODEL},
    )
    if not include_abilities:
        return message
    message.figures.extend(_flat(answer.Model.Figure, figure) for figure in model.figures)
    if model.abilities is not None:
        message.abilities.CopyFrom(_abilities_to_pb(model.abilities))
    return message


def _abilities_to_pb(abilities: Abilities) -> pb.Abilities:
    return pb.Abilities(
        about=abilities.about,
        languages=abilities.languages,
        reads_emoji=abilities.reads_emoji,
        token_limit=abilities.token_limit,
        sizes=[pb.Abilities.Size(width=w, height=h) for w, h in abilities.sizes],
        things=[
            pb.Abilities.Thing(
                name=thing.name, group=thing.group, emoji=thing.emoji, synonyms=thing.synonyms
            )
            for thing in abilities.things
        ],
        colours=_words_to_pb(abilities.colours),
        backgrounds=_words_to_pb(abilities.backgrounds),
        landscapes=_words_to_pb(abilities.landscapes),
        looks=_words_to_pb(abilities.looks),
        counts=_words_to_pb(abilities.counts),
        compositions=_words_to_pb(abilities.compositions),
        examples=[
            pb.Abilities.Example(
                prompt=example.prompt, seed=example.seed, thumbnail=example.thumbnail
            )
            for example in abilities.examples
        ],
    )


def _words_to_pb(words: Words) -> list[pb.Abilities.Words]:
    return [pb.Abilities.Words(name=name, words=texts) for name, texts in words.items()]


def _flat(kind: type[M], source: object) -> M:
    """A message whose fields are copied from the attributes of `source` with the same names."""
    return kind(**{field.name: getattr(source, field.name) for field in kind.DESCRIPTOR.fields})
