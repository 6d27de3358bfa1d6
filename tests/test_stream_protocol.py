"""The AsyncAPI file says what the streaming server says, and nothing else."""

from __future__ import annotations

import contextlib
import signal
import uuid
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from stream_server_runner import StreamServer
from stream_wire import CLOSE, PROTOCOL, Wire, name_of, validator, wire
from websockets.exceptions import ConnectionClosed


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


UNKNOWN = "3f2b8c1e-7a54-4c0d-9e1b-2d6f8a9c0b1d"


def every_reference(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from every_reference(part)
    elif isinstance(value, list):
        for part in value:
            yield from every_reference(part)


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    references = set(every_reference(PROTOCOL))
    for reference in references:
        found: Any = PROTOCOL
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/")]

    for kind in ("messages", "schemas", "securitySchemes"):
        for name in PROTOCOL["components"][kind]:
            assert f"#/components/{kind}/{name}" in references


def test_it_is_asyncapi_3_and_its_schemas_are_schemas() -> None:
    assert PROTOCOL["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(PROTOCOL["info"])
    for schema in PROTOCOL["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for operation in PROTOCOL["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].startswith("#/channels/")
    addresses = [channel["address"] for channel in PROTOCOL["channels"].values()]
    assert addresses == ["/api/ws/audio", "/api/ws/audio/{session_id}"]


@pytest.mark.parametrize("channel", PROTOCOL["channels"])
def test_no_two_messages_look_the_same_and_strange_ones_are_none(channel: str) -> None:
    ack = {
        "message": "Chunk processed successfully",
        "session_id": UNKNOWN,
        "chunk_count": 1,
        "status": "active",
        "bytes_received": 1,
    }
    assert name_of(ack, channel) == "Acknowledged"
    for change in (
        {"chunk_count": -1},
        {"chunk_count": "1"},
        {"status": "done"},
        {"session_id": "x"},
        {"more": 1},
    ):
        assert not validator("Acknowledged").is_valid({**ack, **change})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    folder = tmp_path_factory.mktemp("stored")
    limits = {"MAX_CONCURRENT_SESSIONS": "3", "MAX_CONNECTIONS_PER_SESSION": "2"}
    # 36 s of sound or of time: the latter is more than any test takes.
    limits |= {"MAX_SESSION_DURATION_HOURS": "0.01", "MAX_CHUNK_SIZE_MB": "1"}
    with StreamServer(folder, **limits) as server:
        yield server


def begun(server: StreamServer) -> str:
    """Leave a session behind, to be joined."""
    with wire(server) as talk:
        return str(talk.hear()["session_id"])


def done(server: StreamServer, session_id: str) -> None:
    with wire(server, session_id) as talk:
        talk.hear()
        talk.ask(CLOSE)


def closed(server: StreamServer) -> str:
    with wire(server) as talk:
        session_id = str(talk.hear()["session_id"])
        talk.ask(CLOSE)
        return session_id


def chunk(data: bytes) -> Callable[[Wire], None]:
    def talk(wire: Wire) -> None:
        wire.hear()
        wire.say(data)
        wire.hear()
        wire.say(CLOSE)

    return talk


def only_hear(wire: Wire) -> None:
    del wire


def say_nonsense(wire: Wire) -> None:
    wire.hear()
    wire.say({"type": "nothing"})
    wire.hear()
    wire.say(CLOSE)


NEW = {
    "Welcome": ({}, chunk(bytes(10))),
    "Acknowledged": ({}, chunk(bytes(10))),
    "ChunkFailed": ({}, chunk(b"%PDF-1.4 " + bytes(100))),
    "Completed": ({"sample_rate": 8_000}, chunk(bytes(600_000))),
    "UnknownMessage": ({}, say_nonsense),
    "InvalidSampleRate": ({"sample_rate": 1}, only_hear),
    "InvalidChannels": ({"channels": 0}, only_hear),
    "InvalidFormat": ({"format": "x"}, only_hear),
    "InvalidUserId": ({"user_id": "\n"}, only_hear),
}

JOIN = {
    "InvalidSessionId": ("x", {}),
    "SessionNotFound": (UNKNOWN, {}),
    "InvalidOffset": (UNKNOWN, {"offset": "x"}),
    "InvalidUserId": (UNKNOWN, {"user_id": "\n"}),
}

# Hard to come by: a fault that nobody has thought of.
RARE = {"InternalError"}


@pytest.mark.parametrize("name", NEW)
def test_what_a_new_session_hears_is_in_the_file(
    server: StreamServer, name: str
) -> None:
    query, talk = NEW[name]
    with wire(server, **query) as new:
        with contextlib.suppress(ConnectionClosed):
            talk(new)
        code = new.close_code()

    assert name in new.heard
    assert str(code) in PROTOCOL["x-close-codes"]


@pytest.mark.parametrize("name", JOIN)
def test_what_is_said_to_who_cannot_join_is_in_the_file(
    server: StreamServer, name: str
) -> None:
    session_id, query = JOIN[name]
    with wire(server, session_id, **query) as talk:
        code = talk.close_code()

    assert (talk.heard, code) == ([name], 1008)


def test_what_further_connections_hear_is_in_the_file(server: StreamServer) -> None:
    session_id = begun(server)
    with wire(server, session_id) as first, wire(server, session_id) as second:
        first.hear()
        second.hear()
        with wire(server, session_id) as third:
            assert third.close_code() == 1013
        with wire(server, session_id, offset=9) as gap:
            assert gap.close_code() in {1008, 1013}
        first.ask(bytes(10))
        assert second.ask(bytes(10))["error"] == "busy"
        second.say({"type": "nothing"})
        second.hear()
        first.ask(CLOSE)
        assert second.close_code() == 1000
    with wire(server, session_id) as late:
        assert late.close_code() == 1008

    assert first.heard == ["Joined", "Acknowledged", "Completed"]
    assert second.heard == ["Joined", "ChunkFailed", "UnknownMessage", "Completed"]
    assert third.heard == ["TooManyConnections"]
    assert late.heard == ["SessionIsClosed"]


def test_a_gap_is_in_the_file(server: StreamServer) -> None:
    session_id = begun(server)
    with wire(server, session_id, offset=9) as talk:
        assert talk.close_code() == 1008
    done(server, session_id)

    assert talk.heard == ["OffsetGap"]


def test_a_full_server_is_in_the_file(server: StreamServer) -> None:
    with wire(server) as one, wire(server) as two, wire(server) as three:
        for talk in (one, two, three):
            talk.hear()
        with wire(server) as new:
            assert new.close_code() == 1013
        for talk in (one, two, three):
            talk.ask(CLOSE)

    assert new.heard == ["TooManySessions"]


def test_a_time_that_is_out_is_in_the_file(tmp_path: Path) -> None:
    with (
        StreamServer(tmp_path, CONNECTION_TIMEOUT_SECONDS="1") as server,
        wire(server) as talk,
    ):
        code = talk.close_code()

    assert (talk.heard, code) == (["Welcome", "TimedOut"], 1001)


def test_a_close_that_fails_is_in_the_file(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server, wire(server) as talk:
        path = server.wav(talk.hear()["session_id"])
        talk.ask(bytes(10))
        # Stands for a disk that fails.
        path.rename(tmp_path / "away")
        path.mkdir()
        failed = talk.ask(CLOSE)
        path.rmdir()
        (tmp_path / "away").rename(path)
        talk.ask(CLOSE)

    assert talk.heard == ["Welcome", "Acknowledged", "CloseFailed", "Completed"]
    assert (failed["error"], failed["status"]) == ("internal", "error")


def test_every_message_of_the_file_is_provoked_here() -> None:
    new, join = (
        set(PROTOCOL["channels"][name]["messages"]) - {"Chunk", "CloseSession"}
        for name in ("newSession", "session")
    )

    others = {"TooManySessions", "TimedOut", "CloseFailed"}
    assert new == set(NEW) | others | RARE
    assert join - new == set(JOIN) - {"InvalidUserId"} | {
        "Joined",
        "SessionIsClosed",
        "OffsetGap",
        "TooManyConnections",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", "44100"),
        ("sample_rate", "96000"),
        ("sample_rate", "96001"),
        ("sample_rate", "1"),
        ("channels", "2"),
        ("channels", "3"),
        ("format", "aac"),
        ("format", "opus"),
        ("user_id", "x" * 256),
        ("user_id", "x" * 257),
    ],
)
def test_the_file_and_the_server_agree_on_parameters(
    server: StreamServer, name: str, value: str
) -> None:
    typed: Any = int(value) if value.isdigit() else value
    valid = validator("NewSessionQuery").is_valid({name: typed})

    with wire(server, **{name: value}) as talk:
        first = talk.hear()
        if "error" not in first:
            talk.ask(CLOSE)

    assert ("error" not in first) == valid


def test_defaults_of_parameters_are_those_of_the_server(server: StreamServer) -> None:
    query = PROTOCOL["components"]["schemas"]["NewSessionQuery"]["properties"]
    with wire(server) as talk:
        first = talk.hear()
        talk.ask(CLOSE)

    for name in ("sample_rate", "channels", "format"):
        assert first[name] == query[name]["default"]


def test_a_stop_is_in_the_file(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server, wire(server) as talk:
        assert uuid.UUID(talk.hear()["session_id"]).version == 4
        server.stop(signal.SIGTERM)
        code = talk.close_code()

    assert str(code) in PROTOCOL["x-close-codes"]
    assert code == 1012
