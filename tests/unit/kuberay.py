"""What KubeRay takes, as far as we use it: its fields by name and type, and nothing else.

From the CRD reference of KubeRay 1.5 to 1.7 (ray.io/v1). Pods in it are checked by Kubernetes' own
schemas.
"""

TEXT, NUMBER, FLAG, ANYTHING = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {}


def exactly(required=(), **fields):
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


TEXTS = {"type": "object", "additionalProperties": TEXT}
SECRET = exactly(secretKeyRef=exactly(("name", "key"), name=TEXT, key=TEXT, optional=FLAG))
GROUP = {
    "groupName": TEXT,
    "replicas": NUMBER,
    "minReplicas": NUMBER,
    "maxReplicas": NUMBER,
    "numOfHosts": NUMBER,
    "idleTimeoutSeconds": NUMBER,
    "rayStartParams": TEXTS,
    "template": ANYTHING,
}
CLUSTER = exactly(
    ("headGroupSpec", "rayVersion"),
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=exactly(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=NUMBER,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        resources=ANYTHING,
        image=TEXT,
    ),
    authOptions=exactly(("mode",), mode={"enum": ["token", "disabled"]}, secretName=TEXT),
    gcsFaultToleranceOptions=exactly(
        ("redisAddress",),
        redisAddress=TEXT,
        redisUsername=exactly(value=TEXT, valueFrom=SECRET),
        redisPassword=exactly(value=TEXT, valueFrom=SECRET),
        externalStorageNamespace=TEXT,
    ),
    headGroupSpec=exactly(
        ("template",), serviceType=TEXT, enableIngress=FLAG, rayStartParams=TEXTS, template=ANYTHING
    ),
    workerGroupSpecs={
        "type": "array",
        "items": exactly(("groupName", "template", "minReplicas", "maxReplicas"), **GROUP),
    },
)
RAY_SERVICE = exactly(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata=ANYTHING,
    spec=exactly(
        ("serveConfigV2", "rayClusterConfig"),
        serveConfigV2=TEXT,
        excludeHeadPodFromServeSvc=FLAG,
        upgradeStrategy=exactly(
            ("type",), type={"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}
        ),
        rayClusterDeletionDelaySeconds=NUMBER,
        serveService=ANYTHING,
        rayClusterConfig=CLUSTER,
    ),
)
