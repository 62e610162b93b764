"""What is rendered is taken by those it is for, says the same everywhere, and tells no secret."""

import json
import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kuberay import RAY_SERVICE
from ray.autoscaler._private.kuberay.autoscaling_config import _get_custom_resources
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from deploy.cli.app import app
from deploy.errors import InvalidSetting
from deploy.ray_cluster import SERVE_ENVIRONMENT
from deploy.rendering.docker import docker_files
from deploy.rendering.files import Target, in_yaml, write
from deploy.rendering.kubernetes import kubernetes_files
from deploy.rendering.monitoring import PANELS, RULES, dashboard
from deploy.rendering.serve import require_known, serve_config, serve_files
from deploy.serve_app import application
from deploy.settings import read_settings
from router.exposition import QUEUES, gathered
from router.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = "1.34"
PASSWORD = "a-password-that-nobody-may-see"
SETTINGS = {
    "database": f"postgresql://u:{PASSWORD}@h/n",
    "api_key": "sk-" + PASSWORD,
    "files": "s3://models/adapters",
    "retention_days": 7,
    "engine": {"replicas": 2, "max_replicas": 8, "kv_mib": 2048},
    "router": {"replicas": 3},
    "allowed_origins": ["https://chat.example.org"],
}


@pytest.fixture
def settings(tmp_path):
    return read_settings(home=tmp_path, **SETTINGS)


@pytest.fixture
def target(settings):
    return Target(settings, "acme", "registry.example.org/acme:1.2", "acme-secret")


@pytest.fixture
def manifests(target):
    files = kubernetes_files(target)
    return [
        document
        for name, content in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(content)
    ]


def of(kind, manifests):
    return [each for each in manifests if each["kind"] == kind]


def test_kubernetes_takes_its_objects(manifests):
    own = [each for each in manifests if "ray.io" not in each["apiVersion"]]
    theirs = [each for each in own if ".coreos.com" not in each["apiVersion"]]
    checked = [each for each in theirs if each["kind"] != "Kustomization"]
    for each in checked:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    kinds = {each["kind"] for each in checked}
    assert kinds == {
        "ConfigMap", "CronJob", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"
    }  # fmt: skip


def test_kuberay_takes_the_service_and_kubernetes_its_pods(manifests):
    [service] = of("RayService", manifests)
    jsonschema.validate(service, RAY_SERVICE)
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert [each["groupName"] for each in groups[1:]] == ["routers", "cpu-engines", "trainers"]


def test_the_head_has_no_work_and_pods_few_rights(manifests):
    cluster = of("RayService", manifests)[0]["spec"]["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["headGroupSpec"], *cluster["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        assert container["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_what_the_image_holds_is_what_the_cluster_is_told(target, manifests):
    cluster = of("RayService", manifests)[0]["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == version("ray")
    locked = (ROOT / "deploy" / "locks" / "python.txt").read_text()
    assert f"ray=={cluster['rayVersion']} " in locked
    images = set(re.findall(r"image: (\S+)", kubernetes_files(target)["rayservice.yaml"]))
    assert images == {target.image}
    [job] = of("CronJob", manifests)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == target.image


def test_engines_are_as_many_as_the_application_asks_for(manifests):
    [service] = of("RayService", manifests)
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    args = config["applications"][0]["args"]
    engines = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]
    assert (engines["minReplicas"], engines["maxReplicas"]) == (2, 8)
    assert args["engine"]["max_replicas"] == 8
    cpus = int(engines["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert cpus > args["engine"]["threads"]
    assert service["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]


def test_gpus_have_a_group_of_their_own(settings):
    engine = settings.engine.model_copy(update={"device": "cuda", "max_replicas": None})
    files = kubernetes_files(Target(settings.model_copy(update={"engine": engine})))
    cluster = yaml.safe_load(files["rayservice.yaml"])["spec"]["rayClusterConfig"]
    engines = cluster["workerGroupSpecs"][1]
    assert engines["groupName"] == "gpu-engines"
    limits = engines["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    shared = engine.model_copy(update={"gpus": 0.5})
    assert shared.reserved_gpus == 0.5
    rendered = kubernetes_files(Target(settings.model_copy(update={"engine": shared})))
    assert 'nvidia.com/gpu: "1"' in rendered["rayservice.yaml"].replace("'", '"')
    assert "gpus: 0.5" in rendered["rayservice.yaml"]
    assert not cluster["enableInTreeAutoscaling"]


def test_a_container_asks_for_the_gpus_that_are_used(settings):
    def devices(**update):
        asked = settings.model_copy(update=update)
        service = yaml.safe_load(docker_files(Target(asked))["compose.yaml"])["services"]["myriad"]
        return service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")

    engine = settings.engine.model_copy(update={"device": "cuda", "gpus": 0.5, "replicas": 2})
    training = settings.training.model_copy(update={"gpus": 0.5})
    assert devices() is None
    [wanted] = devices(engine=engine, training=training)
    assert (wanted["count"], wanted["capabilities"]) == (2, ["gpu"])


def test_redis_is_somebody_elses_if_it_is_named(settings):
    files = kubernetes_files(Target(settings, redis="redis.example.org:6379"))
    assert "redis.yaml" not in files
    assert "redis.example.org:6379" in files["rayservice.yaml"]


def test_the_kustomization_names_every_file_and_the_settings_what_nodes_need(target, manifests):
    names = {name for name in kubernetes_files(target) if name.endswith(".yaml")}
    [kustomization] = of("Kustomization", manifests)
    assert {*kustomization["resources"], "kustomization.yaml"} == names
    data = next(
        each["data"] for each in of("ConfigMap", manifests) if "MYRIAD_HOME" in each["data"]
    )
    assert data.items() >= SERVE_ENVIRONMENT.items()
    assert read_settings(home=data["MYRIAD_HOME"], files=data["MYRIAD_FILES"])


def test_names_refer_to_what_there_is(manifests):
    named = {(each["kind"], each["metadata"]["name"]) for each in manifests if "metadata" in each}
    text = json.dumps(manifests)
    for name in re.findall(r'"configMapRef": \{"name": "([^"]+)"', text):
        assert ("ConfigMap", name) in named
    for name in re.findall(r'"secretRef": \{"name": "([^"]+)"', text):
        assert name == "acme-secret"
    assert ("Service", "acme-redis") in named


def groups(files):
    """Groups of workers by name, and the application's settings."""
    service = yaml.safe_load(files["rayservice.yaml"])["spec"]
    [application] = yaml.safe_load(service["serveConfigV2"])["applications"]
    workers = service["rayClusterConfig"]["workerGroupSpecs"]
    return {each["groupName"]: each for each in workers}, application["args"]


def engines(files, group="cpu-engines"):
    """The pods of engines, and MiB that they have."""
    pod = groups(files)[0][group]["template"]["spec"]
    return pod, int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi"))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "lama"
    folder.mkdir()
    for at in range(2):
        with (folder / f"model-{at}.safetensors").open("wb") as shard:
            shard.truncate(3 << 30)
    return folder


def test_pods_have_memory_for_the_base(settings, folder):
    _, least = engines(kubernetes_files(Target(settings)))
    own = settings.model_copy(update={"base": str(folder)})
    _, found = engines(kubernetes_files(Target(own)))
    assert found == least + 6 * 1024
    wide = own.engine.model_copy(update={"weights": "float32"})
    _, found = engines(kubernetes_files(Target(own.model_copy(update={"engine": wide}))))
    assert found == least + 12 * 1024
    _, found = engines(kubernetes_files(Target(own, base_gib=1.5)))
    assert found == least + 1536


def test_who_trains_has_pods_and_memory_of_its_own(settings, folder):
    training = {"jobs": 2, "threads": 6}
    own = {"base": str(folder), "training": settings.training.model_copy(update=training)}
    files = kubernetes_files(Target(settings.model_copy(update=own)))
    found, args = groups(files)
    trainers = found["trainers"]
    # As other pods that come when they are wanted; elsewhere they are always there.
    assert (trainers["minReplicas"], trainers["maxReplicas"]) == (0, 2)
    fixed = own | {"engine": settings.engine.model_copy(update={"max_replicas": None})}
    found = groups(kubernetes_files(Target(settings.model_copy(update=fixed))))[0]
    assert (found["trainers"]["minReplicas"], found["trainers"]["replicas"]) == (2, 2)
    # As `ray start` takes it, quoted once more for the shell, and as the autoscaler does.
    start = trainers["rayStartParams"]
    wanted = {args["training"]["resource"]: 1}
    assert json.loads(json.loads(start["resources"])) == wanted
    assert _get_custom_resources({}, start, "trainers") == wanted
    assert trainers["rayStartParams"]["num-cpus"] == "0"
    pod, mib = engines(files, "trainers")
    assert (pod["containers"][0]["resources"]["limits"]["cpu"], mib) == ("6", 16 * 1024)


@pytest.mark.parametrize("training", [{"jobs": 0}, {"gpus": 0.5}])
def test_who_trains_nothing_or_on_an_engines_gpu_has_no_pods(settings, training):
    own = {"training": settings.training.model_copy(update=training)}
    found, args = groups(kubernetes_files(Target(settings.model_copy(update=own))))
    assert "trainers" not in found
    assert args["training"] == training


@pytest.mark.parametrize("base", ["/models/elsewhere", "acme/not-fetched"])
def test_a_base_of_unknown_size_is_asked_about(settings, base):
    own = settings.model_copy(update={"base": base})
    with pytest.raises(InvalidSetting, match="--base-gib"):
        kubernetes_files(Target(own))
    assert engines(kubernetes_files(Target(own, base_gib=2)))


def test_pods_find_the_base(settings, folder):
    for base, place, writable in (
        (str(folder), str(folder), False),
        ("acme/lama", "/var/lib/myriad/huggingface", True),
    ):
        own = settings.model_copy(update={"base": base})
        files = kubernetes_files(Target(own, base_claim="models", base_gib=6))
        pod, _ = engines(files)
        [volume] = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == "models"
        [mount] = pod["containers"][0]["volumeMounts"]
        assert (mount["mountPath"], not mount["readOnly"]) == (place, writable)
        assert ("securityContext" in pod) == writable
        assert ("HF_TOKEN" in files["README.md"]) == writable
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": {"spec": pod}}
        kubernetes_validate.validate(template, KUBERNETES, strict=True)
        told = kubernetes_files(Target(own, base_gib=6))["README.md"]
        assert ("must have the base" in told) != writable


def test_a_container_finds_the_base(settings, folder):
    for base, mounted, token in ((str(folder), True, False), ("acme/lama", False, True)):
        files = docker_files(Target(settings.model_copy(update={"base": base})))
        service = yaml.safe_load(files["compose.yaml"])["services"]["myriad"]
        assert service["environment"]["MYRIAD_BASE"] == base
        assert (f"{folder}:{folder}:ro" in service["volumes"]) == mounted
        assert ("HF_TOKEN" in service["environment"]) == token
    assert "HF_HOME=/var/lib/myriad/huggingface" in files["Dockerfile"]


@pytest.mark.parametrize("files", [kubernetes_files, docker_files])
def test_a_gguf_file_is_unpacked_before(settings, files):
    own = settings.model_copy(update={"base": "/models/fox.gguf"})
    with pytest.raises(InvalidSetting, match="have `myriad setup` unpack it, and render with"):
        files(Target(own, base_gib=2))


def test_no_file_tells_a_secret(target):
    for files in kubernetes_files(target), docker_files(target), serve_files(target):
        assert not any(PASSWORD in content for content in files.values())


def test_a_registry_of_one_machine_is_not_spread_over_several(tmp_path):
    for lacking in {"files": "s3://b/p"}, {"database": "postgresql://u@h/n"}:
        with pytest.raises(InvalidSetting, match=r"MYRIAD_(FILES|DATABASE) is needed"):
            kubernetes_files(Target(read_settings(home=tmp_path, **lacking)))


def test_serve_takes_the_config_and_passes_over_nothing(target, settings):
    config = serve_config(target)
    [application] = ServeDeploySchema.model_validate(config).applications
    module, _, name = application.import_path.partition(":")
    assert callable(getattr(import_module(module), name))
    rest = {"home": settings.home, "database": settings.database, "api_key": settings.api_key}
    assert read_settings(**application.args, **rest) == settings


def test_secrets_are_not_taken_from_a_config():
    with pytest.raises(InvalidSetting, match="MYRIAD_DATABASE belongs into the environment"):
        application({"database": "postgresql://u@h/n"})
    with pytest.raises(InvalidSetting, match="MYRIAD_ENGINE__REPLICA"):
        application({"engine": {"replica": 2}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"proxy_locaton": "EveryNode"},
        {"http_options": {"hots": "0.0.0.0"}},
        {"applications": [{"name": "x", "import_path": "a:b", "route_prefx": "/"}]},
        {"proxy_location": "Nowhere"},
    ],
)
def test_a_misspelt_config_is_refused(wrong):
    with pytest.raises(InvalidSetting, match="Serve does not"):
        require_known({"applications": []} | wrong)


def test_panels_and_rules_ask_for_metrics_that_there_are():
    text = (ROOT / "docs" / "operations.md").read_text()
    queues = {name: {"queued": 0} for name in QUEUES}
    exposed = gathered({"r": Metrics().exposition(None)}, {}, queues).decode()
    known = set(re.findall(r"\| `(\w+)` \|", text)) | set(re.findall(r"# TYPE (\w+)", exposed))
    asked = {expression for expression, *_ in (*PANELS.values(), *RULES.values())}
    for name in re.findall(r"\b(?:myriad|gen_ai|http)_\w+", " ".join(asked)):
        labels = {"http_response_status_code", "gen_ai_token_type"}
        plain = re.sub(r"_(bucket|count|sum)$", "", name)
        assert name in labels or plain in known, name
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(PANELS)


def test_the_image_is_pinned_closed_and_built_of_what_there_is(target):
    lines = docker_files(target)["Dockerfile"].splitlines()
    words = [line.split() for line in lines if line and not line.startswith(("#", " "))]
    [source] = [line[1] for line in words if line[0] == "FROM"]
    assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+-[\w-]+", source)
    commands = [line[0] for line in words]
    assert commands.index("USER") < commands.index("COPY") < len(commands)
    assert "HEALTHCHECK" in commands
    for line in (line for line in words if line[0] == "COPY"):
        for name in line[2:-1]:
            assert (ROOT / name).exists(), name


def test_what_is_ignored_is_said_where_the_builder_looks(target):
    ignored = docker_files(target)["Dockerfile.dockerignore"]
    assert {".git", ".venv*", "**/__pycache__"} <= set(ignored.split())


def test_an_image_for_vllm_has_it(tmp_path):
    vllm = {"arguments": {"tensor_parallel_size": 2}}
    settings = read_settings(home=tmp_path, engine={"kind": "vllm", "vllm": vllm})
    files = docker_files(Target(settings))
    assert "install --no-cache-dir" in files["Dockerfile"]
    python = re.search(r"MYRIAD_ENGINE__VLLM__PYTHON=(\S+)", files["Dockerfile"])[1]
    assert python == "/app/.venv-vllm/bin/python"
    assert ".venv-vllm" not in docker_files(Target(read_settings(home=tmp_path)))["Dockerfile"]


@pytest.mark.parametrize("more", [{}, {"kind": "vllm", "vllm": {"arguments": {"seed": 3}}}])
def test_the_containers_environment_is_the_settings(tmp_path, monkeypatch, more):
    settings = read_settings(home=tmp_path, **(SETTINGS | {"engine": SETTINGS["engine"] | more}))
    target = Target(settings, "acme", "registry.example.org/acme:1.2", "acme-secret")
    compose = yaml.safe_load(docker_files(target)["compose.yaml"])
    for name, value in compose["services"]["acme"]["environment"].items():
        monkeypatch.setenv(name, value)
    rest = {
        name: getattr(settings, name) for name in ("home", "host", "port", "database", "api_key")
    }
    assert read_settings(**rest) == settings


def test_files_are_written_where_they_were_wanted(target, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("mine")
    written = write(docker_files(target), tmp_path / "out")
    assert all(path.is_file() for path in written)
    assert (tmp_path / "out" / "kept").read_text() == "mine"


def test_the_guide_is_true(tmp_path, monkeypatch):
    """Its rendering commands work as they stand, and what it says is rendered is what is."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    for line in re.findall(r"^export (MYRIAD_.+)$", text, re.MULTILINE):
        for name, value in (part.split("=", 1) for part in line.split()):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\.venv/bin/myriad (deploy render .+)$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.output
    rendered = {path.name for path in (tmp_path / "deployed" / "kubernetes").iterdir()}
    assert rendered == {*re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE), "README.md"}


def test_texts_of_many_lines_are_written_as_such_and_nothing_twice():
    again = {"a": 1}
    text = in_yaml({"text": "one\ntwo\n", "x": again, "y": again})
    assert "text: |\n  one\n  two\n" in text
    assert "&" not in text
