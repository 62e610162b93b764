"""A Ray cluster of several nodes on this machine, driven by lines on standard input.

Run with the environment that `ray_cluster` gives its own; prints the cluster's address first, and a
line after each command was carried out.
"""

import os
import sys
from pathlib import Path

import ray
import yaml
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

WORKER = {"num_cpus": 2}
"""Room for an engine and the routers; Serve spreads engines over nodes."""


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def deploy(address: str, config: Path) -> None:
    """What `serve deploy` does, which goes through a dashboard that is not here."""
    ray.init(address=address, namespace="serve", log_to_driver=False, ignore_reinit_error=True)
    _get_global_client().deploy_apps(
        ServeDeploySchema.model_validate(yaml.safe_load(config.read_text()))
    )


def main(workers: int) -> None:
    # Ray writes the cluster's address there before it makes the folder.
    Path(os.environ["RAY_TMPDIR"], "ray").mkdir(exist_ok=True)
    cluster = Cluster()
    head = cluster.add_node(num_cpus=0, include_dashboard=False)
    nodes = [cluster.add_node(**WORKER) for _ in range(workers)]
    tell(cluster.address)
    for line in sys.stdin:
        match line.split():
            case ["kill", "worker"]:
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
            case ["add", "worker"]:
                nodes.append(cluster.add_node(**WORKER))
            case ["add", "trainer"]:
                cluster.add_node(num_cpus=0, resources={"trainer": 1})
            case ["kill", "state"]:
                head.kill_gcs_server()
            case ["start", "state"]:
                head.start_gcs_server()
            case ["deploy", config]:
                deploy(cluster.address, Path(config))
            case words:
                raise SystemExit(f"what is {words}?")
        tell("done")
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
