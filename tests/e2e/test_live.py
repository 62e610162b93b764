"""Decisions while somebody types, through the cluster's proxy."""

import json
import time

import httpx
from clusters import Cluster
from patience import HANGS
from test_api import upload
from web import HANDSHAKE
from websockets.sync.client import connect

LIGHTHOUSE = [
    "When can we climb the lighthouse?",
    "Is the lighthouse open for visitors on Sunday?",
    "How many steps are there up to the lamp of the lighthouse?",
]


def resident(http: httpx.Client) -> float:
    """Adapters that the engine holds; its figures come as soon as it has time."""
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        for line in http.get("/metrics").text.splitlines():
            if line.startswith("myriad_engine_adapters_resident{"):
                return float(line.split()[-1])
    raise AssertionError("the engine does not tell its figures")


def test_the_adapter_is_there_before_enter_is_pressed(cluster: Cluster):
    address = f"{cluster.url.replace('http', 'ws')}/v1/route/live"
    with cluster.http() as http:
        assert upload(http, "isle/lighthouse", examples=LIGHTHOUSE).status_code == 201
        before = resident(http)
        with connect(
            address, proxy=None, subprotocols=["myriad"], open_timeout=HANGS, close_timeout=HANGS
        ) as socket:
            for text in ("When", "When can we climb the", "When can we climb the lighthouse"):
                socket.send(json.dumps({"input": text}))
                decision = json.loads(socket.recv(timeout=HANGS))
            assert decision["specialist"] == "isle/lighthouse"
            socket.send("nonsense")
            assert json.loads(socket.recv(timeout=HANGS))["error"]["code"] == "invalid_json"
        deadline = time.monotonic() + HANGS
        while resident(http) <= before:
            assert time.monotonic() < deadline
        http.delete("/v1/specialists/isle/lighthouse")


def test_pages_from_elsewhere_are_not_connected(cluster: Cluster):
    foreign = HANDSHAKE | {"origin": "http://evil.example"}
    with cluster.http() as http:
        assert http.get("/v1/route/live", headers=foreign).status_code == 403
