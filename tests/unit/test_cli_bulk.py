"""All adapters of a folder go into service with one command, whatever some of them are."""

import json
import shutil

import pytest
from cli_world import MLX, adapter_folder, live, myriad

from deploy.cli import bulk
from deploy.client import Client
from deploy.errors import ServerRefused

NAMES = ("captain", "claims-triage", "pirate")


@pytest.fixture
def server(tmp_path, monkeypatch):
    with live(tmp_path / "home") as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        yield server


@pytest.fixture
def folder(tmp_path):
    """Two adapters of PEFT's, one of MLX's, and what is none."""
    folder = tmp_path / "all"
    adapter_folder(folder / "claims-triage", seed=1)
    adapter_folder(folder / "pirate", seed=2)
    (folder / "pirate" / "card.yaml").write_text("description: Talks like a pirate.\n")
    (folder / "card.yaml").write_text("description: Of none of them.\n")
    shutil.copytree(MLX, folder / "captain")
    (folder / "logs").mkdir()
    return folder


def all_of(folder, *words):
    return myriad("specialists", "register-all", "acme", str(folder), *words)


def test_each_is_registered_under_its_folder_s_name(server, folder):
    ran = all_of(folder, "--visibility", "public")
    assert ran.code == 0, ran.err
    assert "Registering 3/3" in ran.out
    assert ran.out.splitlines()[-1] == "3 in service"
    said = {name: server.registry.get(f"acme/{name}").card.description for name in NAMES}
    assert said == {
        "captain": "captain",
        "claims-triage": "claims triage",
        "pirate": "Talks like a pirate.",
    }
    for name in NAMES:
        shown = json.loads(myriad("specialists", "show", f"acme/{name}", "--json").out)
        assert (shown["version"], shown["visibility"]) == (1, "public")


def test_again_it_changes_nothing(server, folder):
    for _ in range(2):
        assert json.loads(all_of(folder, "--json").out.splitlines()[-1]) == {
            "registered": 3,
            "failed": {},
        }
    assert {server.registry.get(f"acme/{name}").number for name in NAMES} == {1}


def test_what_fails_costs_the_others_nothing_and_is_named(server, folder):
    (folder / "pirate" / "adapter_model.safetensors").write_bytes(b"nonsense")
    adapter_folder(folder / "Über Claims", seed=3)
    (folder / "claims-triage" / "adapter_model.safetensors").unlink()
    ran = all_of(folder)
    assert ran.code == 1
    *_, first, second, third, last = ran.out.splitlines()
    assert last == "1 in service, 3 not"
    assert first.startswith("claims-triage: ")
    assert "has no adapter_model.safetensors" in first
    assert second.startswith("pirate: adapter_model.safetensors")
    assert third.startswith("Über Claims: ")
    assert server.registry.get("acme/captain").number == 1


def test_only_some_failures_are_shown_to_people(server, folder):
    for number in range(25):
        adapter_folder(folder / f"N{number}")
    ran = all_of(folder)
    assert "… and 5 more" in ran.out
    assert ran.out.splitlines()[-1] == "3 in service, 25 not"


def test_a_server_without_room_is_asked_again(server, folder, monkeypatch):
    monkeypatch.setattr(bulk, "PAUSES", (0.0, 0.0))
    asked, register = [], Client.register

    def busy(client, card, *rest):
        asked.append(card["id"])
        if card["id"] == "acme/pirate" or asked.count(card["id"]) == 1:
            raise ServerRefused(429, "Too many uploads at the moment; try again shortly.")
        return register(client, card, *rest)

    monkeypatch.setattr(Client, "register", busy)
    ran = all_of(folder)
    assert asked.count("acme/captain") == 2
    assert asked.count("acme/pirate") == 3
    assert "pirate: Too many uploads" in ran.out
    assert ran.out.splitlines()[-1] == "2 in service, 1 not"


def test_a_folder_without_adapters_is_refused(server, folder):
    ran = all_of(folder / "logs")
    assert ran.code == 2
    assert "holds an adapter_config.json" in ran.err


def test_where_nobody_answers_nothing_is_tried(folder, monkeypatch):
    monkeypatch.setenv("MYRIAD_URL", "http://127.0.0.1:9")
    ran = all_of(folder)
    assert ran.code == 1
    assert "nothing answers" in ran.err
    assert ran.out == ""
