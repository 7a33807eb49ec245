"""deploy/kubernetes: valid for Kubernetes, and of one mind with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backend.config import PREFIX, Settings, _is_known
from backend.transport.rpc.server import SERVICE
from text2image.targets import target_of

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
RELEASE = "1.37"
RAY = "ray.io/v1"
# The fields of RayCluster's v1 as of KubeRay 1.7, by the kind that they belong to.
KUBERAY = {
    "RayClusterSpec": "authOptions autoscalerOptions enableInTreeAutoscaling "
    "gcsFaultToleranceOptions headGroupSpec headServiceAnnotations historyServerOptions managedBy "
    "networkPolicy rayVersion suspend tlsOptions upgradeStrategy workerGroupSpecs",
    "HeadGroupSpec": "enableIngress headService ingressOptions labels rayStartParams resources "
    "serviceType template",
    "WorkerGroupSpec": "groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts "
    "priority rayStartParams replicas resources scaleStrategy suspend template",
}
REQUIRED = {
    "RayClusterSpec": {"headGroupSpec"},
    "HeadGroupSpec": {"template"},
    "WorkerGroupSpec": {"groupName", "maxReplicas", "minReplicas", "template"},
}


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        for found in yaml.safe_load_all(file.read_text("utf-8")):
            yield f"{file.name} {found['kind']} {found['metadata']['name']}", found


def pod_templates(found: dict[str, Any]) -> list[dict[str, Any]]:
    spec = found["spec"]
    if found["apiVersion"] == RAY:
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        return [group["template"] for group in groups]
    return [spec["template"]] if "template" in spec else []


def containers() -> Iterator[dict[str, Any]]:
    for _, found in objects():
        for template in pod_templates(found):
            yield from template["spec"]["containers"]


ALL = dict(objects())


@pytest.mark.parametrize("name", ALL)
def test_the_schema_of_kubernetes_accepts_it(name: str) -> None:
    found = ALL[name]
    if found["apiVersion"] != RAY:
        assert kubernetes_validate.validate(found, RELEASE, strict=True).startswith(RELEASE)
        return
    for template in pod_templates(found):  # of KubeRay's own kind only the pods
        wrapped = {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": {"name": "x"},
            "template": template,
        }
        kubernetes_validate.validate(wrapped, RELEASE, strict=True)


def test_the_cluster_has_only_fields_that_kuberay_knows() -> None:
    spec = ALL["ray.yaml RayCluster text2image-ray"]["spec"]
    groups = [("HeadGroupSpec", spec["headGroupSpec"])]
    groups += [("WorkerGroupSpec", group) for group in spec["workerGroupSpecs"]]
    for kind, part in [("RayClusterSpec", spec), *groups]:
        assert REQUIRED[kind] <= part.keys() <= set(KUBERAY[kind].split())
    for _, group in groups:  # they become words of a command line
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_schemas_refuse_what_is_wrong() -> None:
    broken = json.loads(json.dumps(ALL["backend.yaml StatefulSet text2image"]))
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["grpc"]["prot"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASE, strict=True)


def test_every_variable_is_one_that_is_read() -> None:
    known = [name.upper() for name in Settings.model_fields]
    for container in containers():
        for variable in container.get("env", ()):
            name = variable["name"]
            if name.startswith(PREFIX):
                assert _is_known(name.removeprefix(PREFIX), known), name


def test_probes_ask_for_what_the_health_service_knows() -> None:
    probes = [
        container[kind]["grpc"]
        for container in containers()
        for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        if "grpc" in container.get(kind, {})
    ]
    assert len(probes) >= 6
    assert {probe["port"] for probe in probes} == {Settings.model_fields["port"].default}
    assert {probe.get("service", "") for probe in probes} == {"", SERVICE}


def test_the_studio_balances_over_the_service() -> None:
    (studio,) = (one for one in containers() if one["name"] == "studio")
    env = {variable["name"]: variable.get("value") for variable in studio["env"]}
    target = target_of(env["TEXT2IMAGE_ADDRESS"])
    service = ALL["backend.yaml Service text2image"]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert target.is_several
    assert target.name == f"dns:///{service['metadata']['name']}:{ports['grpc']}"
    assert service["spec"]["clusterIP"] == "None"


def test_images_are_those_that_the_repository_builds() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    built = set(re.findall(r"image: (text2image-\S+)", compose))
    dockerfile = (ROOT / "deploy" / "kubernetes" / "Dockerfile.ray").read_text("utf-8")
    built |= set(re.findall(r"-t (text2image-\S+)", dockerfile))
    assert {container["image"] for container in containers()} <= built
    (base,) = re.findall(r"ARG BASE=(\S+)", dockerfile)
    assert base in built


def test_the_cluster_is_of_the_version_that_is_pinned() -> None:
    cluster = ALL["ray.yaml RayCluster text2image-ray"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert f"ray=={cluster['spec']['rayVersion']}" in pins
