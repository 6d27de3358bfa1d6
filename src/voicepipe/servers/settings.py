"""The settings that all four servers have."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import SettingsError
from voicepipe.servers.env import env_bool, env_float, env_int, env_list, env_text
from voicepipe.servers.loopback import is_loopback_host


if TYPE_CHECKING:
    from collections.abc import Mapping


# RFC 6454, section 6.2: as browsers write it, in lower case and without a path.
_ORIGIN = re.compile(
    r"null|[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?",
    re.ASCII,
)

_HOST_AND_PORT = re.compile(
    r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?|[0-9A-Fa-f:.]+", re.ASCII
)


@attrs.frozen(kw_only=True)
class ServerSettings:
    """
    Where a server listens, who may come, and how much.

    Attributes:
        host: ``HOST``: the address to listen on.
        port: ``PORT``, 0 to 65,535; 0 takes any free one.
        api_key: ``VOICEPIPE_API_KEY``; not in the repr. ``None``: only this machine
            may come.
        insecure: ``VOICEPIPE_INSECURE``: without a key, anybody may come.
        allowed_origins: ``VOICEPIPE_ALLOWED_ORIGINS``: exact origins of pages, such as
            ``https://app.example.com``, that may come besides the server's own.
            Empty: pages of localhost may too, where browser and server are on one
            machine.
        rate_limit: ``VOICEPIPE_RATE_LIMIT``: requests per minute for the key, and for
            each peer without it; 0 is no limit. Each worker process counts its own.
        retention_days: ``VOICEPIPE_RETENTION_DAYS``: after how many days an app
            deletes recordings; 0 is never.
        forwarded_allow_ips: ``FORWARDED_ALLOW_IPS``: addresses and networks of proxies
            whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed; ``*`` is
            all. Empty: nobody's.
        allow_hosts: ``VOICEPIPE_ALLOW_HOSTS``: hosts, or ``host:port``, that downloads
            may reach although they are private.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = attrs.field(default=None, repr=False)
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    rate_limit: int = 600
    retention_days: float = 0.0
    forwarded_allow_ips: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, port: int = 8000) -> ServerSettings:
        """
        Read the variables; ``read_env`` gives a mapping.

        Args:
            env: Names and values.
            port: The port where ``PORT`` is not set.

        Raises:
            SettingsError: If one is wrong; the message names it, without its value.
        """
        return cls(
            host=_host(env),
            port=env_int(env, "PORT", port, high=65_535),
            api_key=env_text(env, "VOICEPIPE_API_KEY") or None,
            insecure=env_bool(env, "VOICEPIPE_INSECURE", default=False),
            allowed_origins=_origins(env),
            rate_limit=env_int(env, "VOICEPIPE_RATE_LIMIT", 600, high=10**9),
            retention_days=env_float(
                env, "VOICEPIPE_RETENTION_DAYS", 0.0, high=36_500.0
            ),
            forwarded_allow_ips=_proxies(env),
            allow_hosts=_hosts(env),
        )

    @property
    def listens_locally(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback_host(self.host)

    def check_exposure(self) -> None:
        """
        Refuse to be open to others without a key.

        Raises:
            SettingsError: If the server would be, and ``insecure`` is not set.
        """
        if not (self.listens_locally or self.api_key or self.insecure):
            raise SettingsError(
                "VOICEPIPE_API_KEY",
                "must be set where HOST is not this machine alone"
                " (or VOICEPIPE_INSECURE=1, to let anybody in)",
            )


def _host(env: Mapping[str, str]) -> str:
    host = env_text(env, "HOST", "127.0.0.1")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not re.fullmatch(r"[A-Za-z0-9._-]+", host, re.ASCII):
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            wanted = "must be an address or a name, without a port"
            raise SettingsError("HOST", wanted) from None
    return host


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    name = "VOICEPIPE_ALLOWED_ORIGINS"
    origins = env_list(env, name)
    if "*" in origins:
        raise SettingsError(name, "must list each origin: * is not accepted")
    if not all(map(_ORIGIN.fullmatch, origins)):
        raise SettingsError(
            name, "must be origins such as https://app.example.com, without a path"
        )
    return origins


def _proxies(env: Mapping[str, str]) -> tuple[str, ...]:
    name = "FORWARDED_ALLOW_IPS"
    proxies = env_list(env, name)
    for proxy in proxies:
        try:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        except ValueError:
            raise SettingsError(name, "must be addresses, networks or *") from None
    return proxies


def _hosts(env: Mapping[str, str]) -> tuple[str, ...]:
    name = "VOICEPIPE_ALLOW_HOSTS"
    hosts = env_list(env, name)
    if not all(map(_HOST_AND_PORT.fullmatch, hosts)):
        raise SettingsError(name, "must be hosts, or pairs of host:port")
    return hosts
