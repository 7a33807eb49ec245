"""The metrics used in deploy/ exist in the backend."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backend.transport.http import create_app, serve_http
from tests.support.served import ask, refusal_of, served

GRAFANA = Path(__file__).parent.parent.parent / "deploy" / "grafana"
# Of machines with a GPU alone.
OF_A_GPU = re.compile(r"text2image_gpu_\w+")


def expressions() -> dict[str, str]:
    """Every query, by its panel's or alert's name."""
    dashboard = json.loads((GRAFANA / "text2image.json").read_text("utf-8"))
    rules = yaml.safe_load((GRAFANA / "alerts.yml").read_text("utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    return found | alerts


async def samples() -> dict[str, set[str]]:
    """Labels by name, after a good, a refused, a streamed and a stranger's call."""
    async with served() as running:
        await running.stub.GenerateImage(ask(), timeout=30)
        await refusal_of(running.stub.GenerateImage(ask(height=7), timeout=30))
        async for _ in running.stub.StreamGenerateImage(ask(), timeout=30):
            pass
        running.server.metrics.refused_caller("10.0.0.7", "locked out")
        running.server.metrics.refused_http("GET", "/nothing", 404, "10.0.0.7")
        app = create_app(running.server.local_target, metrics=running.server.metrics)
        http = await serve_http(app, "127.0.0.1", 0)
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{http.port}/metrics")).text
        await http.stop()
    found = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {sample.name: set(sample.labels) for sample in found}


async def test_every_query_asks_for_what_there_is() -> None:
    told = await samples()
    for name, expression in expressions().items():
        metrics = re.findall(r"text2image_\w+", expression)
        assert metrics, name
        for metric in metrics:
            assert metric in told or OF_A_GPU.fullmatch(metric), f"{name}: {metric}"
        labels: set[str] = set().union(*(told.get(metric, set()) for metric in metrics))
        assert labels_in(expression) <= labels, name


def labels_in(expression: str) -> set[str]:
    """Those that it groups by, or chooses by."""
    groups = re.findall(r"by \(([^)]*)\)", expression)
    grouped = {label.strip() for group in groups for label in group.split(",")}
    chosen = {label for inside in re.findall(r"{([^}]*)}", expression)
              for label in re.findall(r"(\w+)[=!]", inside)}  # fmt: skip
    return grouped | chosen
