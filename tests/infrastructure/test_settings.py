"""Settings: from the environment, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import Invalid
from infrastructure.settings import load_settings, redacted


def faults_of(environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        load_settings(environ)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def test_defaults_are_those_of_one_machine() -> None:
    settings = load_settings({})
    assert settings.event_log_url == f"sqlite:///{Path('.kasal').absolute() / 'log.db'}"
    assert settings.is_loopback


def test_every_kind_of_setting_is_read_from_text() -> None:
    settings = load_settings(
        {"KASAL_DATA_DIR": "/d", "KASAL_PORT": "1", "KASAL_SEED": "false", "KASAL_LEASE_S": "2.5"}
    )
    assert (settings.data_dir, settings.port, settings.seed, settings.lease_s) == (Path("/d"), 1, False, 2.5)


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sixteen-characters\n")
    settings = load_settings({"KASAL_API_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.api_token == "sixteen-characters"


def test_all_faults_come_at_once() -> None:
    found = faults_of(
        {"KASAL_PORT": "x", "KASAL_LOG_LEVEL": "loud", "KASAL_POTR": "1", "KASAL_LOG_URL": "mysql://x"}
    )
    assert found.keys() == {"KASAL_PORT", "KASAL_LOG_LEVEL", "KASAL_POTR", "KASAL_LOG_URL"}


def test_a_nats_server_that_can_not_be_run_is_a_fault(tmp_path: Path) -> None:
    (plain := tmp_path / "plain").write_text("no program")
    for path in (tmp_path / "missing", plain, tmp_path):
        with pytest.raises(Invalid, match="KASAL_NATS_SERVER: expected the path of a program"):
            load_settings({"KASAL_NATS_SERVER": str(path)})
    plain.chmod(0o700)
    assert load_settings({"KASAL_NATS_SERVER": str(plain)}).nats_server == str(plain)


def test_a_file_that_is_not_there_is_a_fault() -> None:
    assert "can not be read" in faults_of({"KASAL_API_TOKEN_FILE": "/nowhere"})["KASAL_API_TOKEN_FILE"]


@pytest.mark.parametrize("token", ["short", "has a blank inside", "ünicode-sixteen-characters"])
def test_a_weak_token_is_a_fault(token: str) -> None:
    assert "KASAL_API_TOKEN" in faults_of({"KASAL_API_TOKEN": token})


@pytest.mark.parametrize("days", ["-1", "0.001", "1e-12", "soon"])
def test_a_feed_that_forgets_within_minutes_is_a_fault(days: str) -> None:
    """JetStream refuses it for a stream that was made before: it looks for duplicates for two minutes."""
    assert "KASAL_FEED_DAYS" in faults_of({"KASAL_FEED_DAYS": days})
    assert [load_settings({"KASAL_FEED_DAYS": each}).feed_days for each in ("0", "0.01")] == [0, 0.01]


def test_options_go_before_variables() -> None:
    assert load_settings({"KASAL_PORT": "1"}, port=2, host=None).port == 2


def test_credentials_are_not_shown() -> None:
    settings = load_settings(
        {
            "KASAL_API_TOKEN": "canary-canary-canary",
            "KASAL_LOG_URL": "postgresql://u:canary@h/db?password=canary",
            "KASAL_NATS_URL": "nats://u:canary@h",
        }
    )
    assert "canary" not in str(redacted(settings))
    assert redacted(settings)["KASAL_LOG_URL"] == "postgresql://********@h/db"


def test_queues_are_named_once_each_in_their_order() -> None:
    assert load_settings({}).queue_names == ("default",)
    assert load_settings({"KASAL_QUEUES": "gpu, default,gpu"}).queue_names == ("gpu", "default")
    assert "KASAL_QUEUES" in faults_of({"KASAL_QUEUES": "gpu,,default"})
