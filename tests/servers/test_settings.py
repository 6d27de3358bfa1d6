from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

import pytest

from voicepipe.errors import SettingsError
from voicepipe.servers.env import (
    env_bool,
    env_choice,
    env_float,
    env_int,
    env_list,
    env_text,
    read_env,
)
from voicepipe.servers.health import storage_facts
from voicepipe.servers.loopback import (
    is_loopback_address,
    is_loopback_authority,
    is_loopback_host,
)
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from pathlib import Path


ALL = {
    "HOST": "0.0.0.0",
    "PORT": "9000",
    "VOICEPIPE_API_KEY": " s3cret-k\u00e9y ",
    "VOICEPIPE_INSECURE": "yes",
    "VOICEPIPE_ALLOWED_ORIGINS": "https://a.example, http://b.example:81,null",
    "VOICEPIPE_RATE_LIMIT": "7",
    "VOICEPIPE_RETENTION_DAYS": "2.5",
    "FORWARDED_ALLOW_IPS": "10.0.0.1,fd00::/8",
    "VOICEPIPE_ALLOW_HOSTS": "pbx.local,10.0.0.7:8080,[::1]:80",
}


def test_all_settings_are_read() -> None:
    assert ServerSettings.from_env(ALL) == ServerSettings(
        host="0.0.0.0",
        port=9_000,
        api_key="s3cret-k\u00e9y",
        insecure=True,
        allowed_origins=("https://a.example", "http://b.example:81", "null"),
        rate_limit=7,
        retention_days=2.5,
        forwarded_allow_ips=("10.0.0.1", "fd00::/8"),
        allow_hosts=("pbx.local", "10.0.0.7:8080", "[::1]:80"),
    )


def test_what_is_empty_is_not_set() -> None:
    empty = dict.fromkeys(ALL, "  ")

    assert ServerSettings.from_env(empty, port=8_001) == ServerSettings(port=8_001)
    assert ServerSettings.from_env({}).host == "127.0.0.1"


def test_the_key_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(ServerSettings.from_env(ALL))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "http://canary"),
        ("HOST", "canary:80 "),
        ("PORT", "canary"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "8_0"),
        ("PORT", "\uff18\uff10"),
        ("PORT", "9" * 5_000),
        ("PORT", "1e3"),
        ("VOICEPIPE_API_KEY", "canary\nx"),
        ("VOICEPIPE_INSECURE", "canary"),
        ("VOICEPIPE_RATE_LIMIT", "-1"),
        ("VOICEPIPE_RATE_LIMIT", "1.5"),
        ("VOICEPIPE_RETENTION_DAYS", "nan"),
        ("VOICEPIPE_RETENTION_DAYS", "inf"),
        ("VOICEPIPE_RETENTION_DAYS", "-0.1"),
        ("VOICEPIPE_ALLOWED_ORIGINS", "*"),
        ("VOICEPIPE_ALLOWED_ORIGINS", "https://canary/"),
        ("VOICEPIPE_ALLOWED_ORIGINS", "https://u:canary@h"),
        ("VOICEPIPE_ALLOWED_ORIGINS", "HTTPS://canary"),
        ("VOICEPIPE_ALLOWED_ORIGINS", "canary"),
        ("FORWARDED_ALLOW_IPS", "canary"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("VOICEPIPE_ALLOW_HOSTS", "http://canary"),
        ("VOICEPIPE_ALLOW_HOSTS", "u:canary@h"),
    ],
)
def test_a_bad_value_is_told_by_the_name_alone(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ServerSettings.from_env({name: value})

    assert str(caught.value).startswith(f"{name} must ")
    assert caught.value.variable == name
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("host", "key", "insecure", "starts"),
    [
        ("127.0.0.1", None, False, True),
        ("127.1.2.3", None, False, True),
        ("::1", None, False, True),
        ("LocalHost", None, False, True),
        ("0.0.0.0", None, False, False),
        ("::", None, False, False),
        ("192.0.2.1", None, False, False),
        ("localhost.example", None, False, False),
        ("0.0.0.0", "k", False, True),
        ("0.0.0.0", None, True, True),
    ],
)
def test_nobody_is_exposed_by_mistake(
    host: str, key: str | None, *, insecure: bool, starts: bool
) -> None:
    settings = ServerSettings(host=host, api_key=key, insecure=insecure)

    if starts:
        settings.check_exposure()
    else:
        with pytest.raises(SettingsError, match="VOICEPIPE_API_KEY"):
            settings.check_exposure()


def test_an_address_in_brackets_is_taken() -> None:
    assert ServerSettings.from_env({"HOST": "[::1]"}).host == "::1"


def test_the_environment_wins_over_the_file_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfVP_A=file\nVP_B='two words'\nexport VP_C=x # note\n"
        b"VP_D\nVP_E=${HOME}\n"
    )
    monkeypatch.setenv("VP_A", "real")
    before = dict(os.environ)

    env = read_env(tmp_path)

    assert (env["VP_A"], env["VP_B"], env["VP_C"]) == ("real", "two words", "x")
    assert "VP_D" not in env
    assert env["VP_E"] == "${HOME}"
    assert dict(os.environ) == before
    assert read_env(tmp_path / "none") == before


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")

    with pytest.raises(SettingsError, match="UTF-8"):
        read_env(tmp_path)


def test_helpers_give_values_or_defaults() -> None:
    env = {"I": " 12 ", "F": "0.5", "B": "Off", "L": "a,, b ,a", "T": " x ", "C": "wav"}

    assert env_int(env, "I", 1, low=12, high=12) == 12
    assert env_int(env, "none", 1, low=5) == 1
    assert env_float(env, "F", 1.0, high=0.5) == 0.5
    assert env_bool(env, "B", default=True) is False
    assert env_bool(env, "none", default=True) is True
    assert env_list(env, "L") == ("a", "b")
    assert env_list(env, "none", ("z",)) == ("z",)
    assert env_text(env, "T", "y") == "x"
    assert env_choice(env, "C", ("wav", "mp3"), "mp3") == "wav"
    for broken in (
        lambda: env_int(env, "I", 1, low=13),
        lambda: env_int(env, "I", 1, high=11),
        lambda: env_float(env, "F", 1.0, high=0.4),
        lambda: env_choice(env, "C", ("mp3",), "mp3"),
    ):
        with pytest.raises(SettingsError):
            broken()


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("128.0.0.1", False),
        ("localhost", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_addresses_are_known(text: str, *, loopback: bool) -> None:
    assert is_loopback_address(text) is loopback
    assert is_loopback_host(text) is (loopback or text == "localhost")


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]:65535", True),
        ("[::1]", True),
        ("::1", False),
        ("localhost.", False),
        ("localhost.evil.example", False),
        ("evil.localhost", False),
        ("127.0.0.1.evil.example", False),
        ("127.1", False),
        ("localhost:", False),
        ("localhost:80@evil.example", False),
        ("localhost:80 ", False),
        ("", False),
    ],
)
def test_loopback_hosts_are_known_by_their_exact_form(
    text: str, *, loopback: bool
) -> None:
    assert is_loopback_authority(text) is loopback


def test_a_folder_is_tried_by_writing_to_it(tmp_path: Path) -> None:
    facts = storage_facts(tmp_path)

    assert (facts.folder, facts.exists, facts.writable) == (str(tmp_path), True, True)
    assert facts.free_bytes is not None
    assert facts.free_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_told(tmp_path: Path) -> None:
    # Also root cannot make a file in it.
    facts = storage_facts("/proc/self") if os.path.isdir("/proc/self") else None  # noqa: PTH112
    missing = storage_facts(tmp_path / "none")
    (tmp_path / "file").touch()

    if facts is not None:
        assert (facts.exists, facts.writable) == (True, False)
    assert (missing.exists, missing.writable, missing.free_bytes) == (
        False,
        False,
        None,
    )
    assert storage_facts(tmp_path / "file").exists is False
