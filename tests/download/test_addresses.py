"""URLs that lead to where nobody from outside may: refused, and nobody is called."""

from __future__ import annotations

import contextlib
import errno
import time
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpcore
import pytest
from downloading import fetch, limits, names
from fault_answers import Serve, redirect, status, wav_of
from fault_server import Canary, FaultServer
from public_addresses import PUBLIC

from voicepipe.errors import (
    BlockedUrlError,
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
    InvalidUrlError,
)
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions
from voicepipe.net.addresses import why_not_public
from voicepipe.net.engine import HttpLimits
from voicepipe.net.guard import GuardedBackend, resolve
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


WAV = wav_of(20_000)

LOOPBACKS = ["127.0.0.1", "::1", "127.0.0.2"]


@pytest.fixture(scope="module")
def canaries() -> Iterator[list[Canary]]:
    """
    Listen on the machine's own addresses, at one of the ports that any host may be
    asked at: what is not refused for its address is heard.
    """
    until = time.monotonic() + 60
    while True:
        for port in (8080, 8443, 80, 443):
            with contextlib.ExitStack() as stack:
                found = _listen(stack, port)
                if found:
                    yield found
                    return
        if time.monotonic() > until:
            pytest.skip("all the ports that the policy allows are taken")
        # Others may run these tests, too, and soon be through.
        time.sleep(0.2)


def _listen(stack: contextlib.ExitStack, port: int) -> list[Canary]:
    found = []
    for host in LOOPBACKS:
        try:
            found.append(stack.enter_context(Canary(host, port)))
        except OSError as exc:
            if exc.errno in {errno.EADDRINUSE, errno.EACCES}:
                return []
            # Not every machine has IPv6, nor more than one loopback address.
    return found


def heard(canaries: list[Canary]) -> int:
    return sum(canary.connects for canary in canaries)


BLOCKED_IPV4 = {
    "loopback": "127.0.0.1",
    "another loopback": "127.0.0.2",
    "the last loopback": "127.255.255.254",
    "any": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "the last private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "shared": "100.64.0.1",
    "the last shared": "100.127.255.254",
    "metadata": "169.254.169.254",
    "metadata of containers": "169.254.170.2",
    "metadata of another cloud": "100.100.100.200",
    "the host of a virtual machine": "168.63.129.16",
    "protocol assignments": "192.0.0.8",
    "metadata at protocol assignments": "192.0.0.192",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.7",
    "documentation 3": "203.0.113.255",
    "6to4 relay": "192.88.99.1",
    "benchmarks": "198.18.0.1",
    "the last benchmarks": "198.19.255.255",
    "multicast": "224.0.0.1",
    "the last multicast": "239.255.255.250",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
}

BLOCKED_IPV6 = {
    "loopback": "::1",
    "any": "::",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped in hexadecimal": "::ffff:7f00:1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped public": "::ffff:8.8.8.8",
    "compatible": "::127.0.0.1",
    "translated": "::ffff:0:127.0.0.1",
    "NAT64": "64:ff9b::7f00:1",
    "NAT64 with dots": "64:ff9b::169.254.169.254",
    "local NAT64": "64:ff9b:1::a00:1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 private": "2002:c0a8:101::1",
    "Teredo": "2001:0:7f00:1::1",
    "ORCHID": "2001:10::1",
    "ORCHIDv2": "2001:20::1",
    "documentation": "2001:db8::1",
    "documentation 2": "3fff::1",
    "benchmarks": "2001:2::1",
    "unique local": "fc00::1",
    "metadata": "fd00:ec2::254",
    "link-local": "fe80::1",
    "site-local": "fec0::1",
    "multicast": "ff02::1",
    "global multicast": "ff0e::1",
    "discard": "100::1",
    "segment routing": "5f00::1",
    "unassigned": "4000::1",
    "written out": "0:0:0:0:0:0:0:1",
    "the last one": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}

FORMS = {
    "a decimal number": "2130706433",
    "a hexadecimal number": "0x7f000001",
    "an octal number": "017700000001",
    "two parts": "127.1",
    "three parts": "127.0.1",
    "octal parts": "0177.0.0.01",
    "hexadecimal parts": "0x7f.0x0.0x0.0x1",
    "mixed parts": "0x7f.0.0.01",
    "leading zeros": "0000000177.0.0.1",
    "zero": "0",
    "zeros": "0.0",
    "hexadecimal zero": "0x0",
    "too large a number": "4294967297",
    "metadata as a number": "2852039166",
    "metadata in hexadecimal": "0xa9fea9fe",
    "metadata in octal": "0251.0376.0251.0376",
    "metadata, short": "169.254.43518",
    "a trailing dot": "127.0.0.1.",
    "fullwidth digits": "１２７.０.０.１",  # noqa: RUF001
    "circled digits": "①②⑦.⓪.⓪.①",
    "ideographic dots": "127。0。0。1",
    "halfwidth dots": "127｡0｡0｡1",
    "percent-encoded": "%31%32%37.0.0.1",
    "percent-encoded dots": "127%2e0%2e0%2e1",
    "a name": "localhost",
    "a name in capitals": "LOCALHOST",
    "a name with a dot": "localhost.",
    "a name in fullwidth": "ｌｏｃａｌｈｏｓｔ",  # noqa: RUF001
    "a soft hyphen": "local\xadhost",
    "scope": "[fe80::1%25lo]",
    "scope of the loopback": "[::1%25lo]",
    "scope without its percent sign": "[::1%lo]",
    "brackets about IPv4": "[127.0.0.1]",
    "a future address": "[v1.127]",
}

SHAPES = {
    "user info": "http://example.com@127.0.0.1:{port}/",
    "user and password": "http://example.com:80@127.0.0.1:{port}/",
    "two at signs": "http://a@example.com@127.0.0.1:{port}/",
    "an encoded at sign": "http://example.com%40127.0.0.1:{port}/",
    "a fragment before an at sign": "http://127.0.0.1:{port}#@example.com/",
    "a query before an at sign": "http://127.0.0.1:{port}?@example.com/",
    "a semicolon": "http://127.0.0.1:{port};@example.com/",
    "a backslash": "http://127.0.0.1:{port}\\@example.com/",
    "a backslash before the host": "http:\\\\127.0.0.1:{port}/",
    "a backslash after the scheme": "http:/\\127.0.0.1:{port}/",
    "one slash": "http:/127.0.0.1:{port}/",
    "no slash": "http:127.0.0.1:{port}",
    "three slashes": "http:///127.0.0.1:{port}/",
    "four slashes": "http:////127.0.0.1:{port}/",
    "no scheme": "127.0.0.1:{port}/",
    "no scheme, two slashes": "//127.0.0.1:{port}/",
    "a scheme in capitals": "HTTP://127.0.0.1:{port}/",
    "a tab in the host": "http://127.0\t.0.1:{port}/",
    "a tab in the scheme": "ht\ttp://127.0.0.1:{port}/",
    "a line end in the host": "http://127.0.0.1\r\n:{port}/",
    "a line end in the path": "http://127.0.0.1:{port}/ HTTP/1.1\r\nX-A: b\r\n",
    "a NUL": "http://127.0.0.1\0.example.com:{port}/",
    "a blank in front": " http://127.0.0.1:{port}/",
    "a blank behind the host": "http://127.0.0.1 :{port}/",
    "a blank in the host": "http://127.0.0.1 .example.com:{port}/",
    "a no-break space": "http://127.0.0.1\xa0:{port}/",
    "a line separator": "http://127.0.0.1\u2028:{port}/",
    "a byte order mark": "\ufeffhttp://127.0.0.1:{port}/",
    "a lone surrogate": "http://127.0.0.1\ud800:{port}/",
    "an empty port": "http://localhost:/",
    "port 0": "http://127.0.0.1:0/",
    "port 22": "http://127.0.0.1:22/",
    "port 6379": "http://127.0.0.1:6379/",
    "port 65536": "http://127.0.0.1:65536/",
    "a negative port": "http://127.0.0.1:-1/",
    "a port with a sign": "http://127.0.0.1:+{port}/",
    "a port in fullwidth": "http://127.0.0.1:８０８０/",  # noqa: RUF001
    "two ports": "http://127.0.0.1:{port}:80/",
    "a port of another order": "http://127.0.0.1:{port}80/",
    "a port with leading zeros": "http://127.0.0.1:0000{port}/",
    "no host": "http://:{port}/",
    "nothing": "",
    "only a scheme": "http://",
    "a dot": "http://.:{port}/",
    "dots": "http://..:{port}/",
    "a path": "/etc/passwd",
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.1/etc/passwd",
    "ftp": "ftp://127.0.0.1:{port}/a.wav",
    "gopher": "gopher://127.0.0.1:{port}/_GET",
    "dict": "dict://127.0.0.1:{port}/info",
    "ldap": "ldap://127.0.0.1:{port}/",
    "data": "data:audio/wav;base64,AAAA",
    "unix": "unix:///var/run/docker.sock",
    "http over unix": "http+unix://%2fvar%2frun%2fdocker.sock/",
    "jar": "jar:http://127.0.0.1:{port}!/a",
    "ws": "ws://127.0.0.1:{port}/",
    "about": "about:blank",
    "a URL in front": "url:http://127.0.0.1:{port}/",
    "brackets that do not close": "http://[::1:{port}/",
    "brackets that do not open": "http://::1]:{port}/",
    "IPv6 without brackets": "http://::1:{port}/",
    "100 kB": "http://127.0.0.1:{port}/" + "a" * 100_000,
    "a label of 64 characters": "http://" + "a" * 64 + ".example.com:{port}/",
    "a name of 300 characters": "http://" + "a." * 150 + "com:{port}/",
    "an empty label": "http://a..b:{port}/",
    "bad punycode": "http://xn--\xff:{port}/",
}


def urls(port: int) -> dict[str, str]:
    """Give all of them: at least the eighty that were promised."""
    return {
        **{
            f"IPv4 {name}": f"http://{address}:{port}/"
            for name, address in BLOCKED_IPV4.items()
        },
        **{
            f"IPv6 {name}": f"http://[{address}]:{port}/"
            for name, address in BLOCKED_IPV6.items()
        },
        **{f"as {name}": f"http://{form}:{port}/" for name, form in FORMS.items()},
        **{name: shape.replace("{port}", str(port)) for name, shape in SHAPES.items()},
    }


async def refusal(downloader: Downloader, url: str, path: Path) -> Exception | None:
    """Give the error that a URL ends with; ``None`` if it was fetched."""
    try:
        await downloader.fetch(url, path)
    except Exception as exc:  # noqa: BLE001
        return exc
    return None


def is_refused(error: Exception | None) -> bool:
    """Tell whether it was refused, or no such host is known, and why, typed."""
    if isinstance(error, ConnectionFailedError):
        return not error.retryable
    return isinstance(error, BlockedUrlError | InvalidUrlError)


async def test_no_form_of_a_private_address_is_called(
    canaries: list[Canary], tmp_path: Path
) -> None:
    table = urls(canaries[0].port)
    wrong = {}
    async with Downloader(limits(attempts=1)) as downloader:
        for name, url in table.items():
            error = await refusal(downloader, url, tmp_path / "a.wav")
            if not is_refused(error):
                wrong[name] = repr(error)

    assert wrong == {}
    assert len(table) >= 150
    assert heard(canaries) == 0
    assert names(tmp_path) == set()


async def test_no_redirect_leads_to_a_private_address(
    canaries: list[Canary], server: FaultServer, tmp_path: Path
) -> None:
    """Those that name no host lead back to the server itself."""
    relative = {
        "no scheme, two slashes",
        "no scheme",
        "a path",
        "nothing",
        "one slash",
        "no slash",
        "only a scheme",
        "three slashes",
    }
    wrong = {}
    options = limits(server, attempts=1, max_redirects=2)
    table = urls(canaries[0].port)
    async with Downloader(options) as downloader:
        for index, (name, target) in enumerate(table.items()):
            if "\n" in target or "\r" in target or not _latin(target):
                continue
            code = (301, 302, 303, 307, 308)[index % 5]
            url = server.on(f"/{index}", redirect(target, code))
            error = await refusal(downloader, url, tmp_path / "a.wav")
            if not (is_refused(error) or name in relative):
                wrong[name] = repr(error)

    assert wrong == {}
    assert heard(canaries) == 0
    assert names(tmp_path) == set()


def _latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


async def test_a_canary_hears_who_is_let_through(
    canaries: list[Canary], tmp_path: Path
) -> None:
    """Otherwise the silence of the others would mean nothing."""
    options = limits(allow_hosts=("127.0.0.1",), read_s=0.2, attempts=1)
    before = heard(canaries)

    url = f"http://127.0.0.1:{canaries[0].port}/"

    with pytest.raises(FetchError):
        await fetch(options, url, tmp_path / "a.wav")

    assert heard(canaries) == before + 1


@pytest.mark.parametrize("address", [*BLOCKED_IPV4.values(), *BLOCKED_IPV6.values()])
def test_an_address_outside_the_public_internet_is_told(address: str) -> None:
    assert why_not_public(address) is not None


@pytest.mark.parametrize(
    "address", ["", "127.1", "localhost", "fe80::1%lo", "2606:4700::1%eth0", "8.8.8.8 "]
)
def test_what_is_no_plain_address_is_not_public(address: str) -> None:
    assert why_not_public(address) is not None


OUTSIDE = [
    *PUBLIC,
    "1.0.0.0",
    "192.0.3.0",
    "198.51.99.255",
    "203.0.114.0",
    "2001:200::1",
]


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_just_outside_of_a_block_is_public(address: str) -> None:
    assert why_not_public(address) is None


class Recorder(httpcore.AsyncNetworkBackend):
    """Connects to nobody, and keeps who was to be called."""

    def __init__(self, *failing: str) -> None:
        self.called: list[tuple[str, int]] = []
        self._failing = failing

    async def connect_tcp(
        self, host: str, port: int, *_: object, **__: object
    ) -> httpcore.AsyncNetworkStream:
        self.called.append((host, port))
        if host in self._failing:
            raise httpcore.ConnectError
        return httpcore.AsyncMockStream([])


class Names:
    """Gives another answer each time, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        await anyio.lowlevel.checkpoint()
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def guard(
    answers: Names, recorder: Recorder, *allow_hosts: str, resolve_s: float = 60.0
) -> GuardedBackend:
    policy = UrlPolicy.allowing(allow_hosts)
    backend = GuardedBackend(policy, resolve_s=resolve_s, resolve=answers)
    backend._backend = recorder  # type: ignore[assignment]
    return backend


async def test_a_name_is_looked_up_once_and_what_was_checked_is_called() -> None:
    """A name that means something else a moment later gains nothing."""
    answers = Names(["8.8.8.8"], ["127.0.0.1"])
    recorder = Recorder()
    backend = guard(answers, recorder)

    await backend.connect_tcp("rebind.example", 80, 5.0)
    with pytest.raises(BlockedUrlError) as told:
        await backend.connect_tcp("rebind.example", 80, 5.0)

    assert answers.asked == [("rebind.example", 80)] * 2
    assert recorder.called == [("8.8.8.8", 80)]
    assert told.value.host == "rebind.example"


@pytest.mark.parametrize(
    "mixed",
    [
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["8.8.8.8", "::1"],
        ["2606:4700::1111", "::ffff:10.0.0.1"],
        [*(f"8.8.{i}.8" for i in range(49)), "10.0.0.1"],
        ["8.8.8.8", "fe80::1%lo"],
        ["8.8.8.8", "nonsense"],
    ],
    ids=lambda mixed: mixed[-1],
)
async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    mixed: list[str],
) -> None:
    recorder = Recorder()

    with pytest.raises(BlockedUrlError):
        await guard(Names(mixed), recorder).connect_tcp("mixed.example", 80, 5.0)

    assert recorder.called == []


async def test_of_fifty_addresses_a_few_are_tried() -> None:
    many = [f"8.8.{i}.8" for i in range(50)]
    recorder = Recorder(*many)

    with pytest.raises(httpcore.ConnectError):
        await guard(Names(many), recorder).connect_tcp("many.example", 443, 5.0)

    assert 1 < len(recorder.called) <= 8
    assert (
        recorder.called == [(address, 443) for address in many][: len(recorder.called)]
    )


async def test_the_second_address_is_tried_when_the_first_does_not_answer() -> None:
    recorder = Recorder("8.8.8.8")

    await guard(Names(["8.8.8.8", "1.1.1.1"]), recorder).connect_tcp("a", 80, 5.0)

    assert [host for host, _ in recorder.called] == ["8.8.8.8", "1.1.1.1"]


async def test_a_host_without_an_address_is_told() -> None:
    with pytest.raises(ConnectionFailedError) as told:
        await guard(Names([]), Recorder()).connect_tcp("none.example", 80, 5.0)

    assert not told.value.retryable


async def test_a_name_server_that_does_not_answer_is_given_up() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    backend = GuardedBackend(UrlPolicy.allowing(()), resolve_s=0.2, resolve=never)

    with pytest.raises(FetchTimeoutError) as told:
        await backend.connect_tcp("slow.example", 80, 5.0)

    assert (told.value.limit, told.value.limit_s) == ("resolve", 0.2)


async def test_the_systems_own_answers_are_plain_addresses() -> None:
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert await resolve("127.1", 80) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("entry", "port", "open_to"),
    [
        ("rec.example", 80, True),
        ("rec.example", 8443, True),
        ("rec.example", 9000, False),
        ("rec.example:9000", 9000, True),
        ("rec.example:9000", 80, False),
        ("rec.example:9000", 9001, False),
        ("REC.example.", 443, True),
        ("other.example", 80, False),
        ("example", 80, False),
        ("c.example", 80, False),
    ],
)
async def test_a_listed_host_is_open_at_what_its_entry_says(
    entry: str, port: int, *, open_to: bool
) -> None:
    """Its name counts, whatever its address is."""
    url = parse_url(f"http://rec.example:{port}/")
    policy = UrlPolicy.allowing([entry])
    recorder = Recorder()
    try:
        policy.check(url)
        await guard(Names(["10.0.0.1"]), recorder, entry).connect_tcp(
            url.host, url.port, 5.0
        )
    except BlockedUrlError:
        assert not open_to

    assert recorder.called == ([("10.0.0.1", port)] if open_to else [])


async def test_a_name_is_looked_up_once_for_each_connection(
    server: FaultServer, tmp_path: Path
) -> None:
    """The connection goes to the first answer, whatever the name means later."""
    server.on("/a", status(200, body=b"one"))
    answers = Names(["127.0.0.1"], ["127.0.0.2"])
    policy = UrlPolicy.allowing([f"rebind.example:{server.port}"])
    client = HttpClient(policy, HttpLimits(), resolve=answers)
    url = parse_url(f"http://rebind.example:{server.port}/a")
    async with client:
        for _ in range(3):
            async with client.get(url, {}) as answer:
                assert await answer.read(100) == b"one"

    assert answers.asked == [("rebind.example", server.port)]
    assert (server.connects, len(server.requests)) == (1, 3)
    assert server.requests[0].header("host") == f"rebind.example:{server.port}"


async def test_a_port_is_refused_before_its_host_is_looked_up(tmp_path: Path) -> None:
    """Whoever sends URLs learns nothing of names either."""
    for port in (0, 1, 21, 22, 25, 81, 3306, 5432, 6379, 8000, 9200, 11211, 65535):
        url = f"http://127.0.0.1:{port}/a?sig=1"
        with pytest.raises(BlockedUrlError, match="port") as told:
            await fetch(DownloadOptions(), url, tmp_path / "a.wav")
        assert told.value.host == "127.0.0.1"
        assert "sig" not in str(told.value)


async def test_a_redirect_to_another_port_of_a_listed_host_is_refused(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(other.url("/b.wav")))
    other.on("/b.wav", Serve(body=WAV))

    with pytest.raises(BlockedUrlError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert other.connects == 0


@pytest.mark.parametrize(
    "variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"]
)
async def test_a_proxy_in_the_environment_is_not_asked(
    variable: str, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.on("/a.wav", Serve(body=WAV))
    with Canary("127.0.0.1") as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

        await fetch(limits(server), url, tmp_path / "a.wav")

        assert proxy.connects == 0
    assert (tmp_path / "a.wav").read_bytes() == WAV


async def test_a_netrc_of_the_user_is_not_read(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login user password secret\n", "ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    url = server.on("/a.wav", Serve(body=WAV))

    await fetch(limits(server), url, tmp_path / "a.wav")

    assert server.requests[0].header("authorization") is None


async def test_an_ipv6_host_can_be_listed(tmp_path: Path) -> None:
    try:
        listening = FaultServer("::1")
    except OSError:
        pytest.skip("no IPv6")
    with listening as server:
        url = server.on("/a.wav", Serve(body=WAV))

        await fetch(limits(server), url, tmp_path / "a.wav")

        assert server.requests[0].header("host") == server.host
    assert (tmp_path / "a.wav").read_bytes() == WAV
