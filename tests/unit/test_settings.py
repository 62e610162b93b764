"""Settings: read once, refused by name."""

from pathlib import Path

import pytest

from deploy.errors import InvalidSetting
from deploy.settings import read_settings
from specialists.training.teacher import Address


def test_defaults_need_nothing():
    settings = read_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.server_url == "http://127.0.0.1:8000"
    assert settings.home.is_absolute()


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", "~/elsewhere")
    monkeypatch.setenv("MYRIAD_PORT", "9001")
    monkeypatch.setenv("MYRIAD_ENGINE__MAX_ROWS", "4")
    settings = read_settings()
    assert settings.home == Path("~/elsewhere").expanduser()
    assert settings.server_url.endswith(":9001")
    assert settings.engine.max_rows == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MYRIAD_PORT", "eighty"),
        ("MYRIAD_PORT", "70000"),
        ("MYRIAD_ENGINE__MAX_ROWS", "0"),
        ("MYRIAD_ENGINE__WEIGHTS", "int3"),
        ("MYRIAD_ENGINE__MAX_ROW", "3"),
    ],
)
def test_a_bad_value_is_refused_with_name_and_value(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSetting) as refusal:
        read_settings()
    assert name in str(refusal.value)
    assert value in str(refusal.value)


def test_vllm_holds_weights_as_the_base_has_them(monkeypatch):
    monkeypatch.setenv("MYRIAD_ENGINE__KIND", "vllm")
    assert not read_settings().engine.wants_kernels
    monkeypatch.setenv("MYRIAD_ENGINE__WEIGHTS", "int4")
    with pytest.raises(InvalidSetting, match="leave weights at auto"):
        read_settings()


def test_teachers_are_named_and_their_keys_are_nobodys_business(monkeypatch):
    monkeypatch.setenv("MYRIAD_TEACHERS", '{"large": {"url": "https://h/v1", "model": "m"}}')
    monkeypatch.setenv("MYRIAD_TEACHERS__LARGE__KEY", "s3cret")
    settings = read_settings()
    assert settings.teachers["large"].address == Address("https://h/v1", "m", "s3cret")
    assert "s3cret" not in settings.model_dump_json() + repr(settings)
    assert settings.without_secrets.teachers is None
    monkeypatch.setenv("MYRIAD_TEACHERS", '{"large": {"url": "https://h/v1", "key": "s3cret"}}')
    with pytest.raises(InvalidSetting, match="MYRIAD_TEACHERS__LARGE__MODEL") as refusal:
        read_settings()
    assert "s3cret" not in str(refusal.value)
    monkeypatch.setenv("MYRIAD_TEACHERS", '{"large": {"url": "host/v1", "model": "m"}}')
    with pytest.raises(InvalidSetting, match="MYRIAD_TEACHERS__LARGE__URL"):
        read_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_is_fine(monkeypatch, host):
    monkeypatch.setenv("MYRIAD_HOST", host)
    assert host in read_settings().server_url


def test_lists_are_written_with_commas(monkeypatch):
    monkeypatch.setenv("MYRIAD_ALLOWED_HOSTS", "a.example, b.example")
    monkeypatch.setenv("MYRIAD_ALLOWED_ORIGINS", "https://A.example/,http://b.example:81")
    settings = read_settings()
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.allowed_origins == ("https://a.example", "http://b.example:81")


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/path", "null"])
def test_what_is_no_origin_is_refused(monkeypatch, origin):
    monkeypatch.setenv("MYRIAD_ALLOWED_ORIGINS", origin)
    with pytest.raises(InvalidSetting, match="MYRIAD_ALLOWED_ORIGINS"):
        read_settings()
