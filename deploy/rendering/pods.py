"""Pods on Kubernetes: what is the same for all, whatever they do."""

from deploy.rendering.base import HUB, folder_of
from deploy.rendering.files import PORT, USER, Manifest, Target

REDIS_PORT, DASHBOARD_PORT = 6379, 8265
CLOSED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A container that needs no rights."""


def pod(target: Target, part: str, cpus: int, mib: int, gpus: int = 0) -> Manifest:
    """A pod of the cluster, for a part of it; memory in MiB."""
    container: Manifest = {
        "name": f"ray-{part}",
        "image": target.image,
        "envFrom": environment(target),
        "resources": resources(cpus, mib, gpus),
        "securityContext": CLOSED,
    }
    if part == "head":
        ports = {"gcs-server": REDIS_PORT, "dashboard": DASHBOARD_PORT, "serve": PORT}
        container["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    spec = {
        "terminationGracePeriodSeconds": int(target.settings.drain_seconds) + 30,
        "topologySpreadConstraints": [_spread(target, part)],
        "containers": [container],
    }
    if target.base_claim is not None and part != "head":
        folder = folder_of(target.settings.base)
        mount = {"name": "base", "mountPath": folder or HUB, "readOnly": folder is not None}
        container["volumeMounts"] = [mount]
        spec |= _base_volume(target.base_claim, written=folder is None)
    return {"metadata": {"labels": labels_of(target, part)}, "spec": spec}


def _base_volume(claim: str, written: bool) -> Manifest:
    volume = {"name": "base", "persistentVolumeClaim": {"claimName": claim}}
    if not written:
        return {"volumes": [volume]}
    # What comes from a hub is written there, by whom the image runs as.
    group = {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    return {"volumes": [volume], "securityContext": group}


def _spread(target: Target, part: str) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels_of(target, part)},
    }


def environment(target: Target) -> list[Manifest]:
    """Where a container's settings come from."""
    return [
        {"configMapRef": {"name": f"{target.name}-settings"}},
        {"secretRef": {"name": target.secret}},
    ]


def from_secret(target: Target, key: str) -> Manifest:
    """A value that nobody else may read."""
    return {"secretKeyRef": {"name": target.secret, "key": key}}


def resources(cpus: int, mib: int, gpus: int = 0) -> Manifest:
    """What a container gets, and no more; memory in MiB."""
    amounts = {"cpu": str(cpus), "memory": f"{mib}Mi"}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def labels_of(target: Target, part: str) -> dict[str, str]:
    """By which the pods of a part are found."""
    return {"app.kubernetes.io/name": target.name, "app.kubernetes.io/component": part}
