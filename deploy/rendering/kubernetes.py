"""Manifests for KubeRay: a head without work, workers that scale, state that outlives them."""

from collections.abc import Mapping

from deploy.ray_cluster import SERVE_ENVIRONMENT
from deploy.rendering.base import folder_of
from deploy.rendering.files import (
    ANYWHERE,
    HOME,
    PORT,
    Manifest,
    Target,
    in_yaml,
    labelled,
    ray_version,
    require_shared,
)
from deploy.rendering.monitoring import monitoring_files
from deploy.rendering.pods import (
    CLOSED,
    DASHBOARD_PORT,
    REDIS_PORT,
    environment,
    from_secret,
    labels_of,
    pod,
    resources,
)
from deploy.rendering.serve import serve_config
from deploy.rendering.workers import ENGINE_CPUS, GIB, workers
from specialists.hub import is_of_hub

REDIS_IMAGE = "redis:7.4.7-alpine"
RAY, OPERATOR = "ray.io/v1", "kuberay-operator"
HEAD_CPUS, HEAD_MIB = 2, 4 * GIB


def kubernetes_files(target: Target) -> dict[str, str]:
    """All manifests, and a kustomization that names them; `kubectl apply -k` takes the folder.

    Raises:
        InvalidSetting: the settings are for one machine alone.
    """
    require_shared(target.settings)
    target = target.in_pods(ENGINE_CPUS)
    manifests = {
        "rayservice.yaml": [ray_service(target)],
        "settings.yaml": [settings_map(target)],
        "network.yaml": network_policies(target),
        "disruption.yaml": [disruption_budget(target, part) for part in ("router", "engine")],
        "tidy.yaml": [tidy(target)],
    }
    if target.redis is None:
        manifests["redis.yaml"] = redis(target)
    files = {name: in_yaml(*documents) for name, documents in manifests.items()}
    files |= monitoring_files(target)
    return files | {
        "kustomization.yaml": in_yaml(kustomization(files)),
        "README.md": readme(target),
    }


def ray_service(target: Target) -> Manifest:
    """The RayService: the application, and the cluster that it runs on."""
    settings = target.settings
    return labelled(
        target,
        RAY,
        "RayService",
        target.name,
        spec={
            "serveConfigV2": in_yaml(serve_config(target)),
            "excludeHeadPodFromServeSvc": True,
            "upgradeStrategy": {"type": "NewCluster"},
            "rayClusterConfig": {
                "rayVersion": ray_version(),
                "enableInTreeAutoscaling": settings.engine.max_replicas is not None,
                "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": 300},
                "authOptions": {"mode": "token"},
                "gcsFaultToleranceOptions": _gcs(target),
                "headGroupSpec": {
                    # Nothing is scheduled there: what the head does must not wait for answers.
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": ANYWHERE},
                    "template": pod(target, "head", HEAD_CPUS, HEAD_MIB),
                },
                "workerGroupSpecs": workers(target),
            },
        },
    )


def settings_map(target: Target) -> Manifest:
    """What commands that run in the pods need to know; secrets come from the secret."""
    data = {"MYRIAD_HOME": HOME, "MYRIAD_DEMOS": "false", "MYRIAD_PORT": str(PORT)}
    data["MYRIAD_HOST"] = ANYWHERE
    data["MYRIAD_FILES"] = str(target.settings.files)
    data["MYRIAD_BASE"] = target.settings.base
    data |= SERVE_ENVIRONMENT
    return labelled(target, "v1", "ConfigMap", f"{target.name}-settings", data=data)


def network_policies(target: Target) -> list[Manifest]:
    """Who may reach what: pods each other, everybody the API, the operator the dashboard."""
    pods = {"matchLabels": {"app.kubernetes.io/name": target.name}}
    everywhere: Manifest = {"namespaceSelector": {}}
    operator = everywhere | {"podSelector": {"matchLabels": {"app.kubernetes.io/name": OPERATOR}}}
    ingress = [
        {"from": [{"podSelector": pods}]},
        {"from": [everywhere], "ports": [_port(PORT)]},
        {"from": [operator], "ports": [_port(DASHBOARD_PORT), _port(PORT)]},
    ]
    policies = [_policy(target, target.name, pods, ingress)]
    if target.redis is None:
        store = {"matchLabels": {"app.kubernetes.io/name": f"{target.name}-redis"}}
        allowed = [{"from": [{"podSelector": pods}], "ports": [_port(REDIS_PORT)]}]
        policies.append(_policy(target, f"{target.name}-redis", store, allowed))
    return policies


def disruption_budget(target: Target, part: str) -> Manifest:
    """Maintenance takes one pod at a time."""
    labels = labels_of(target, part)
    return labelled(
        target,
        "policy/v1",
        "PodDisruptionBudget",
        f"{target.name}-{part}",
        spec={"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    )


def tidy(target: Target) -> Manifest:
    """What a server on one machine does itself once a day: give up what was retired long ago."""
    container = {
        "name": "tidy",
        "image": target.image,
        "command": ["myriad", "registry", "gc"],
        "envFrom": environment(target),
        "resources": resources(1, GIB),
        "securityContext": CLOSED,
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    template = {"metadata": {"labels": labels_of(target, "tidy")}, "spec": pod}
    return labelled(
        target,
        "batch/v1",
        "CronJob",
        f"{target.name}-tidy",
        spec={
            "schedule": "17 3 * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 1, "template": template}},
        },
    )


def redis(target: Target) -> list[Manifest]:
    """Where the cluster's state outlives its head."""
    name = f"{target.name}-redis"
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": "redis",
        "image": REDIS_IMAGE,
        "args": ["--appendonly", "yes", "--dir", "/data", "--requirepass", "$(REDIS_PASSWORD)"],
        "env": [{"name": "REDIS_PASSWORD", "valueFrom": from_secret(target, "REDIS_PASSWORD")}],
        "ports": [{"name": "redis", "containerPort": REDIS_PORT}],
        "readinessProbe": {"tcpSocket": {"port": REDIS_PORT}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": REDIS_PORT}, "periodSeconds": 10},
        "resources": resources(1, GIB),
        "securityContext": CLOSED | {"runAsUser": 999},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "4Gi"}},
        },
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"securityContext": {"fsGroup": 999}, "containers": [container]},
    }
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    ports = [{"name": "redis", "port": REDIS_PORT}]
    return [
        labelled(target, "v1", "Service", name, spec={"selector": labels, "ports": ports}),
        labelled(target, "apps/v1", "StatefulSet", name, spec=spec),
    ]


def kustomization(files: Mapping[str, str]) -> Manifest:
    """Names every file, so that an overlay can build on them."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(name for name in files if name.endswith(".yaml")),
    }


def readme(target: Target) -> str:
    """What is to be done once, by hand."""
    name, secret, base = target.name, target.secret, target.settings.base
    token = " \\\n     --from-literal=HF_TOKEN=..." if is_of_hub(base) else ""
    image = ""
    if folder_of(base) and target.base_claim is None:
        image = f"The image, or a claim (`--base-claim NAME`), must have the base, `{base}`.\n\n"
    return f"""# {name} on Kubernetes

Rendered by `myriad deploy render kubernetes`; render it anew rather than changing it, or build an
overlay on its kustomization. KubeRay 1.5.1 or newer must be installed.

{image}1. The secret, with the database, the password of Redis, and what reaches the files:

   ```sh
   kubectl create secret generic {secret} \\
     --from-literal=MYRIAD_DATABASE=postgresql://user:password@host/name \\
     --from-literal=REDIS_PASSWORD="$(openssl rand -hex 24)" \\
     --from-literal=AWS_ACCESS_KEY_ID=... --from-literal=AWS_SECRET_ACCESS_KEY=...{token}
   ```

2. The cluster: `kubectl apply -k .`

3. The first API keys, without which nobody is let in: one that may do everything, and one that
   Prometheus reads the metrics with (put it into the secret as METRICS_KEY):

   ```sh
   pod=$(kubectl get pod -l app.kubernetes.io/component=router -o name | head -n 1)
   kubectl exec "$pod" -- myriad keys create admin --scope admin
   kubectl exec "$pod" -- myriad keys create prometheus --scope metrics
   ```

4. The API is the service `{name}-serve-svc`, port {PORT}.
"""


def _gcs(target: Target) -> Manifest:
    address = target.redis or f"{target.name}-redis:{REDIS_PORT}"
    return {
        "redisAddress": address,
        "redisPassword": {"valueFrom": from_secret(target, "REDIS_PASSWORD")},
    }


def _port(number: int) -> Manifest:
    return {"protocol": "TCP", "port": number}


def _policy(target: Target, name: str, pods: Manifest, ingress: list[Manifest]) -> Manifest:
    spec = {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress}
    return labelled(target, "networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)
