"""Replicas as actors of a Ray cluster. The only module that imports ray.

Actors, not Ray Serve: the front picks the replica itself, by predicted end, which a Serve handle
does not allow; and Serve's controller and proxies would add processes, hops and a queue of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import AsyncGenerator
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # the service reports nothing home
if not os.environ.get("RAY_ADDRESS"):  # on Linux, too, Ray's ports are on 127.0.0.1 then
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of 15: replicas are no background work

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from backend import logs
from backend.cluster.handle import Handle, ReplicaLost
from backend.cluster.replica import Item, LoadOf, Replica, Report
from backend.config import Settings
from backend.draft import Draft
from backend.errors import BackendError, ModelFailed
from backend.params import GenerationParams, ModelInfo

NAMESPACE = "text2image"
OBJECT_STORE_BYTES = 200 * 2**20  # pictures on their way to the front
# Settings that change nothing about a replica.
OF_THE_FRONT = {
    *("host", "port", "http_port", "http_cors_origins", "http_allowed_hosts"),
    *("http_trusted_proxies", "openai_aliases", "max_connections", "max_queue"),
    *("max_queue_per_client", "result_ttl_s", "drain_s", "api_keys_file", "requests_per_minute"),
    *("concurrent_requests", "tls_cert", "tls_key", "tls_client_ca", "allow_insecure"),
    *("backend", "replicas", "max_replicas", "scale_up_s", "scale_down_s", "replica_timeout_s"),
}


class RayHandle:
    """A `Handle` of an actor."""

    def __init__(self, name: str, actor: Any) -> None:
        self.name = name
        self._actor = actor
        self._node = ""

    async def describe(self) -> tuple[ModelInfo, ...]:
        found: tuple[ModelInfo, ...] = await self._call("describe")
        return found

    async def report(self, front: str) -> Report:
        if not self._node:
            self._node = await self._call("node")
            await self._call("start")
        found: Report = await self._call("report", front)
        return found

    async def examine(self, params: GenerationParams) -> int | BackendError:
        found: int | BackendError = await self._call("examine", params)
        return found

    async def _call(self, method: str, *args: object) -> Any:
        try:
            return await getattr(self._actor, method).remote(*args)
        except RayActorError as error:
            raise ReplicaLost(_reason(error)) from None

    async def generate(
        self, front: str, draft: Draft, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Item, None]:
        streaming = self._actor.generate.options(num_returns="streaming")
        refs = streaming.remote(front, draft, client, deadline_s)
        is_over = False
        try:
            async for ref in refs:
                yield await ref
            is_over = True
        except RayActorError as error:
            is_over = True
            raise ReplicaLost(_reason(error)) from None
        finally:
            if not is_over:
                ray.cancel(refs)

    async def leave(self) -> None:
        with contextlib.suppress(ReplicaLost):
            await self._call("leave")
        ray.kill(self._actor)

    async def kill(self, pid: int | None) -> None:
        """Ray asks a process to end, which a hung one does not hear: its node ends it by pid."""
        with contextlib.suppress(RayError):
            ray.kill(self._actor)
            if self._node and pid is not None:
                where = NodeAffinitySchedulingStrategy(self._node, soft=False)
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": where}
                await ray.remote(_end).options(**options).remote(pid)


def _reason(error: RayActorError) -> str:
    return str(error).partition("\n")[0]


def _take_signals_back() -> None:
    """Ray's core has put a stack trace before what our handlers do."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.getsignal(number))


class _Actor(Replica):
    """A Replica in a process of its own that knows where in the cluster it is."""

    def __init__(self, settings: Settings, version: str, load_of: LoadOf) -> None:
        logs.configure(settings.log_format, settings.log_level)
        super().__init__(settings, version, load_of)

    async def node(self) -> str:
        node: str = ray.get_runtime_context().get_node_id()
        return node


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class RayLauncher:
    """A `Launcher`. Without $RAY_ADDRESS it starts a cluster on this machine, and ends it again.

    Replicas are detached and named by a digest of version and settings: a front finds those of an
    earlier one, but none that would draw other pictures.
    """

    def __init__(self, settings: Settings, version: str, load_of: LoadOf) -> None:
        self._settings = settings
        self._version = version
        self._load_of = load_of
        self._is_ours = False  # the connection
        self._folder = ""  # of a cluster that was started here
        self._cpus = 1
        self._gpus = 0

    async def connect(self) -> None:
        try:
            await asyncio.to_thread(self._connect)
        except Exception as error:  # Ray raises plain ones, too
            raise ModelFailed(f"The Ray cluster can't be used: {error}") from error
        _take_signals_back()

    def _connect(self) -> None:
        """Not on the main thread, where Ray would take over our signals."""
        if ray.is_initialized():
            self._take_stock()
            return
        self._is_ours = True
        options: dict[str, Any] = {"address": "auto"}
        if not os.environ.get("RAY_ADDRESS"):
            self._folder = tempfile.mkdtemp(prefix="t2i-ray-")  # sockets' paths must be short
            options = {
                "address": "local",
                "num_cpus": os.cpu_count(),
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": self._folder,
            }
        ray.init(
            namespace=NAMESPACE,
            logging_level=logging.ERROR,
            log_to_driver=self._settings.log_format == "console",
            **options,
        )
        self._take_stock()

    def _take_stock(self) -> None:
        resources = ray.cluster_resources()
        self._cpus = max(1, int(resources.get("CPU", 1)) // self._settings.most_replicas)
        wants_gpu = self._settings.device.startswith(("auto", "cuda"))
        self._gpus = 1 if wants_gpu and resources.get("GPU", 0) >= 1 else 0

    async def find(self) -> list[Handle]:
        return await asyncio.to_thread(self._find)

    def _find(self) -> list[Handle]:
        found: list[Handle] = []
        for name in ray.util.list_named_actors():
            if name.startswith(f"{self._prefix}-"):
                with contextlib.suppress(ValueError):  # it has just ended
                    found.append(RayHandle(name, ray.get_actor(name)))
        return found

    async def start(self) -> Handle:
        return await asyncio.to_thread(self._start)

    def _start(self) -> Handle:
        name = f"{self._prefix}-{uuid.uuid4().hex[:6]}"
        actor = ray.remote(_Actor).options(
            name=name,
            lifetime="detached",
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_restarts=0,  # the front starts another one
            max_concurrency=1000,
        )
        return RayHandle(name, actor.remote(self._replicas_settings, self._version, self._load_of))

    async def close(self) -> None:
        if self._is_ours:
            await asyncio.to_thread(ray.shutdown)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _replicas_settings(self) -> Settings:
        """With a share of the threads: as many as the replica has CPUs.

        A replica keeps its model: the front knows its costs only while it is loaded.
        """
        threads = self._settings.num_threads or (0 if self._gpus else self._cpus)
        return self._settings.model_copy(update={"num_threads": threads, "idle_unload_s": 0.0})

    @property
    def _prefix(self) -> str:
        theirs = self._replicas_settings.model_dump_json(exclude=OF_THE_FRONT)
        told = f"{self._version} {theirs} {self._load_of.__name__}"
        return f"replica-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
