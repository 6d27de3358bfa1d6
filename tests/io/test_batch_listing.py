"""Lists as people write them: what is read of them, and what is told of the rest."""

from __future__ import annotations

import json
import os
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from test_missing_extras import run_without

from voicepipe.errors import BatchError
from voicepipe.io.batch.entries import PLACES, Entries, Entry
from voicepipe.io.batch.lines import MAX_ROW
from voicepipe.io.batch.listing import Listing
from voicepipe.io.batch.values import BatchOptions
from voicepipe.io.options import DecodeOptions, RawFormat


if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.io.batch.values import ListFormat


A, B = "https://a.example/1.mp3", "https://b.example/2.mp3"


def read(
    path: Path, form: ListFormat | None = None, **options: Any
) -> list[tuple[Entry, ...]]:
    """Give the entries of each row."""
    entries = Entries(BatchOptions(**options))
    with Listing(path, form) as listing, closing(listing.rows()) as rows:
        return [tuple(entries.of(row)) for row in rows]


def asked(found: list[tuple[Entry, ...]]) -> list[list[tuple[str, str, int | None]]]:
    """Give file name, URL and channel of all that is to be fetched."""
    return [
        [
            (entry.recording.filename, entry.recording.url, entry.recording.channel)
            for entry in row
            if entry.recording is not None
        ]
        for row in found
    ]


def metadata(found: list[tuple[Entry, ...]]) -> list[Any]:
    return [json.loads(entry.about).get("metadata") for row in found for entry in row]


def written(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


TWO = [[("c1_agent.wav", A, None), ("c1_customer.wav", B, None)]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_however_it_was_saved(
    delimiter: str, end: str, mark: bytes, tmp_path: Path
) -> None:
    header = ["Team", " Conversation_ID ", "AUDIO_URL_AGENT", "audio_url_customer"]
    lines = [header, ["é, ; \t", "c1", A, B]]
    text = (end or "\n").join(
        delimiter.join(f'"{cell}"' for cell in line) for line in lines
    )
    path = written(tmp_path, mark + (text + end).encode())

    found = read(path)

    assert asked(found) == TWO
    assert metadata(found) == [{"Team": "é, ; \t"}] * 2


def test_one_side_of_a_conversation_may_be_missing(tmp_path: Path) -> None:
    text = "conversation_id,audio_url_agent,audio_url_customer\n"
    path = written(tmp_path, f"{text}c1,{A},\nc2,,{B}\nc3, ,\n")

    found = read(path)

    assert asked(found) == [
        [("c1_agent.wav", A, None)],
        [("c2_customer.wav", B, None)],
        [],
    ]
    assert [(e.cause, e.error) for e in found[2]] == [("NoUrl", "it has no URL")]


def test_one_recording_has_a_speaker_and_a_channel_where_they_are_told(
    tmp_path: Path,
) -> None:
    text = "audio_url,conversation_id,speaker_label,channel\n"
    path = written(tmp_path, f"{text}{A},c1,bob,1\n {A} ,c2,,\n{B},c3,,7\n")

    assert asked(read(path)) == [
        [("c1_bob.wav", A, 1)],
        [("c2_speaker.wav", A, None)],
        [("c3_speaker.wav", B, 7)],
    ]


def test_two_columns_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path, f"conversation_id\taudio_url\nc1\t{A}\n", "list.tsv")

    assert asked(read(path)) == [[("c1_speaker.wav", A, None)]]


def test_json_lines_are_read_with_any_metadata(tmp_path: Path) -> None:
    extra = {"tags": ["ü", 1, None], "deep": {"x": 1.5, "y": "\ud800"}}
    lines = [
        {"conversation_id": "c1", "audio_url_agent": A, "audio_url_customer": B},
        {"Conversation_Id": "c2", "audio_url": A, "channel": 0, **extra},
        {"conversation_id": "c3", "audio_url_agent": None, "audio_url_customer": B},
        {"conversation_id": "c4", "audio_url": A, "channel": "2"},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    found = read(written(tmp_path, text, "list.jsonl"))

    assert asked(found) == [
        *TWO,
        [("c2_speaker.wav", A, 0)],
        [("c3_customer.wav", B, None)],
        [("c4_speaker.wav", A, 2)],
    ]
    assert metadata(found)[2] == extra
    assert [row[0].position // PLACES for row in found] == [1, 3, 5, 7]


def test_parquet_is_read_whatever_its_types(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 1_000
    table = pa.table(
        {
            "conversation_id": [f"c{i}" for i in range(count)],
            "audio_url": [A] * count,
            "channel": pa.array([1, None] * (count // 2), pa.int8()),
            "when": pa.array(
                [1_700_000_000_000_000_001] * count, pa.timestamp("ns", tz="UTC")
            ),
            "price": [Decimal("1.20")] * count,
            "score": [float("nan"), 0.5] * (count // 2),
            "raw": [b"\x00\xff"] * count,
            "deep": [{"a": [1, 2]}] * count,
        }
    )
    path = tmp_path / "list.parquet"
    pq.write_table(table, path)

    found = read(path)

    assert len(found) == count
    assert asked(found)[:2] == [
        [("c0_speaker.wav", A, 1)],
        [("c1_speaker.wav", A, None)],
    ]
    assert metadata(found)[0] == {
        "when": "2023-11-14 22:13:20.000000001Z",
        "price": "1.20",
        "score": None,
        "raw": "AP8=",
        "deep": {"a": [1, 2]},
    }
    assert [row[0].position // PLACES for row in found] == list(range(1, count + 1))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.csv", "", "no column 'conversation_id'"),
        ("list.csv", "id,audio_url\n", "no column 'conversation_id'"),
        ("list.csv", "conversation_id,url\n", "no column 'audio_url'"),
        (
            "list.csv",
            "conversation_id,audio_url,Team,TEAM\n",
            "the column 'team' twice",
        ),
        (
            "list.csv",
            "conversation_id,audio_url,audio_url_agent\n",
            "both 'audio_url' and 'audio_url_agent'",
        ),
        ("list.csv", "conversation_id,audio_url\nc1,é\n".encode("latin-1"), "UTF-8"),
        ("list.csv", "conversation_id,audio_url\n".encode("utf-16"), "UTF-8"),
        ("list.jsonl", b"{}\n\xff\n", "UTF-8"),
        ("list.csv", '"' * (MAX_ROW + 10), "first line"),
        ("list.parquet", "conversation_id,audio_url\n", "Parquet"),
        ("list.parquet", b"", "Parquet"),
        ("list.xlsx", "conversation_id,audio_url\n", ".parquet"),
    ],
)
def test_a_list_that_cannot_be_used_is_told(
    name: str, content: str | bytes, told: str, tmp_path: Path
) -> None:
    path = written(tmp_path, content, name)

    with pytest.raises(BatchError, match=told) as error:
        read(path)

    assert name in str(error.value)
    assert not error.value.retryable


def test_a_list_whose_end_is_not_text_is_told_and_where(tmp_path: Path) -> None:
    rows = "".join(f"c{i},{A}\n" for i in range(5_000))
    path = written(
        tmp_path, f"conversation_id,audio_url\n{rows}".encode() + b"\xe9,x\n"
    )

    with pytest.raises(BatchError, match=r"behind line (4\d{3}|500[01])"):
        read(path)


def test_a_list_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / f"{name}.csv" for name in ("none", "dir", "pipe")):
        with pytest.raises(BatchError, match=path.name):
            Listing(path, None)


def test_parquet_without_a_column_or_with_one_twice_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"conversation_id": ["a"]}), path)
    with pytest.raises(BatchError, match="audio_url"):
        read(path)
    pq.write_table(pa.table({"audio_url": ["a"], "Audio_URL": ["b"]}), path)
    with pytest.raises(BatchError, match="twice"):
        read(path)


def test_parquet_without_its_package_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, b"PAR1", "list.parquet")
    packages = tmp_path / "packages"
    packages.mkdir()
    code = f"""
from voicepipe.errors import MissingExtraError
from voicepipe.io.batch.listing import Listing
with Listing({str(path)!r}, None) as listing:
    try:
        next(listing.rows())
    except MissingExtraError as exc:
        print(exc.package, exc.extra)
"""

    assert run_without("pyarrow", code, packages) == "pyarrow parquet\n"


def test_the_format_can_be_told(tmp_path: Path) -> None:
    path = written(tmp_path, f"conversation_id,audio_url\nc1,{A}\n", "upload")

    assert asked(read(path, "csv")) == [[("c1_speaker.wav", A, None)]]


GOOD_ROW = f"good,{A},\n"

BAD_ROWS = {
    "too few cells": (f"c1,{A}\n", "2 cells"),
    "too many cells": (f"c1,{A},,\n", "4 cells"),
    "text behind a quote": (f'"c1"x,{A},\n', "expected after"),
    "a cell without end": (f'c1,"{"y" * MAX_ROW}\n', "more than"),
    "an empty id": (f",{A},\n", "conversation_id"),
    "an id with a blank": (f" c1,{A},\n", "conversation_id"),
    "an id with a zero byte": (f"c\0,{A},\n", "conversation_id"),
    "a path": (f"../c1,{A},\n", "conversation_id"),
    "a device": (f"NUL,{A},\n", "conversation_id"),
    "no URL": ("c1,,\n", "no URL"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_of_a_table_fails_alone(bad: str, tmp_path: Path) -> None:
    row, told = BAD_ROWS[bad]
    header = "conversation_id,audio_url_agent,audio_url_customer\n"
    path = written(tmp_path, f"{header}{GOOD_ROW}{row}{GOOD_ROW}")

    found = read(path)

    assert asked(found)[0] == asked(found)[-1] == [("good_agent.wav", A, None)]
    failed = [entry for row in found for entry in row if entry.recording is None]
    assert len(failed) == len(found) - 2 == 1
    assert told in failed[0].error
    assert failed[0].cause in {"BadRow", "InvalidIdError", "NoUrl"}


def test_a_quote_that_nobody_closes_fails_and_is_told(tmp_path: Path) -> None:
    text = f'conversation_id,audio_url\nc1,{A}\nc2,"{A}\nc3,{A}\n'

    found = read(written(tmp_path, text))

    assert [len(row) for row in asked(found)] == [1, 0]
    assert found[1][0].error == "unexpected end of data"


def test_a_quote_that_nobody_closes_takes_no_more_than_a_row_may(
    tmp_path: Path,
) -> None:
    lost = MAX_ROW // 40 + 3
    text = 'conversation_id,audio_url\nc1,"x\n' + f"c2,{'y' * 36}\n" * lost
    path = written(tmp_path, f"{text}c3,{A}\n")

    found = read(path)

    assert "more than" in found[0][0].error
    assert asked(found)[-1] == [("c3_speaker.wav", A, None)]
    assert len(found) < 10


@pytest.mark.parametrize("channel", ["-1", "8", "1.0", "x", "\uff11", "1" * 5_000])
def test_a_channel_that_is_none_fails(channel: str, tmp_path: Path) -> None:
    text = f"conversation_id,audio_url,channel\nc1,{A},{channel}\n"

    [[entry]] = read(written(tmp_path, text))

    assert (entry.recording, entry.cause) == (None, "BadRow")
    assert "channel" in entry.error
    assert json.loads(entry.about) == {"conversation_id": "c1"}


BAD_OBJECTS = {
    "no JSON": "{",
    "no object": '["c1"]',
    "text": '"c1"',
    "no id": json.dumps({"audio_url": A}),
    "no URL column": json.dumps({"conversation_id": "c1"}),
    "no URL": json.dumps({"conversation_id": "c1", "audio_url": None}),
    "a number as id": json.dumps({"conversation_id": 1, "audio_url": A}),
    "truth as id": json.dumps({"conversation_id": True, "audio_url": A}),
    "a list as id": json.dumps({"conversation_id": ["c1"], "audio_url": A}),
    "a number as URL": json.dumps({"conversation_id": "c1", "audio_url": 1}),
    "a list as label": json.dumps(
        {"conversation_id": "c1", "audio_url": A, "speaker_label": ["x"]}
    ),
    "a bad label": json.dumps(
        {"conversation_id": "c1", "audio_url": A, "speaker_label": "a/b"}
    ),
    "truth as channel": json.dumps(
        {"conversation_id": "c1", "audio_url": A, "channel": True}
    ),
    "a name twice": f'{{"conversation_id": "c1", "audio_url": "{A}", "X": 1, "x": 2}}',
    "not a number": f'{{"conversation_id": "c1", "audio_url": "{A}", "x": NaN}}',
    "no finite number": f'{{"conversation_id": "c1", "audio_url": "{A}", "x": 1e999}}',
    "too many digits": f'{{"conversation_id": "c1", "x": {"9" * 10_000}}}',
    "too deep": "[" * 100_000,
    "too long": f'{{"conversation_id": "c1", "x": "{"y" * MAX_ROW}"}}',
}


@pytest.mark.parametrize("bad", BAD_OBJECTS)
def test_a_bad_line_of_json_fails_alone(bad: str, tmp_path: Path) -> None:
    good = json.dumps({"conversation_id": "good", "audio_url": A})
    text = f"{good}\n{BAD_OBJECTS[bad]}\n{good}\n"

    found = read(written(tmp_path, text, "list.ndjson"))

    assert [len(row) for row in asked(found)] == [1, 0, 1]
    assert found[1][0].cause in {"BadRow", "InvalidIdError", "NoUrl"}
    assert found[1][0].error
    assert len(found[1][0].error) < 200


def test_rows_without_anything_are_no_rows(tmp_path: Path) -> None:
    text = f"conversation_id,audio_url\n\n,\nc1,{A}\n\n,\n"

    assert asked(read(written(tmp_path, text))) == [[("c1_speaker.wav", A, None)]]


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    text = f",conversation_id,audio_url,\n0,c1,{A},x\n"

    assert metadata(read(written(tmp_path, text))) == [
        {"column_1": "0", "column_4": "x"}
    ]


def test_nothing_is_told_of_a_row_whose_cells_are_shifted(tmp_path: Path) -> None:
    text = f"conversation_id,audio_url,team\nc1,{A}?a=1,SECRET,team\n{A}?SECRET,c1,x\n"

    found = read(written(tmp_path, text))

    assert [len(row) for row in asked(found)] == [0, 0]
    assert "SECRET" not in repr(found)


def fingerprint(cells: dict[str, Any], folder: Path, **options: Any) -> bytes:
    path = written(folder, json.dumps(cells), "one.jsonl")
    [[entry]] = read(path, **options)
    return entry.fingerprint


BASE = {"conversation_id": "c1", "audio_url": f"{A}?sig=1"}


@pytest.mark.parametrize(
    "cells",
    [
        {"conversation_id": "C1"},
        {"audio_url": f"{A}?sig=2"},
        {"audio_url": B},
        {"speaker_label": "bob"},
        {"channel": 0},
    ],
)
def test_what_decides_about_the_sound_changes_the_fingerprint(
    cells: dict[str, Any], tmp_path: Path
) -> None:
    assert fingerprint(BASE, tmp_path) != fingerprint({**BASE, **cells}, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 8_000},
        {"decode": DecodeOptions(allow_damaged=True)},
        {"decode": DecodeOptions(allow_truncated=True)},
        {"decode": DecodeOptions(raw=RawFormat(rate=8_000))},
    ],
)
def test_options_that_decide_about_the_sound_change_the_fingerprint(
    options: dict[str, Any], tmp_path: Path
) -> None:
    assert fingerprint(BASE, tmp_path) != fingerprint(BASE, tmp_path, **options)


def test_what_does_not_decide_changes_nothing(tmp_path: Path) -> None:
    same = {**BASE, "channel": "", "speaker_label": "speaker", "team": "x"}

    assert fingerprint(BASE, tmp_path) == fingerprint(
        same, tmp_path, limit=3, workers=2, verify=True
    )


def test_the_query_can_be_left_out_of_the_fingerprint(tmp_path: Path) -> None:
    other = {**BASE, "audio_url": f"https://user:word@a.example/1.mp3?{'x' * 50}#y"}
    broken = [{**BASE, "audio_url": text} for text in ("no url 1", "no url 2")]

    assert fingerprint(BASE, tmp_path, ignore_query=True) == fingerprint(
        other, tmp_path, ignore_query=True
    )
    assert len({fingerprint(b, tmp_path, ignore_query=True) for b in broken}) == 2


def test_names_of_metadata_are_kept_up_to_a_number(tmp_path: Path) -> None:
    count = Entries.MAX_NAMES + 10
    text = "\n".join(json.dumps({**BASE, f"name{i}": i}) for i in range(count))
    path = written(tmp_path, text, "list.jsonl")
    entries = Entries(BatchOptions())

    with Listing(path, None) as listing, closing(listing.rows()) as rows:
        found = [tuple(entries.of(row)) for row in rows]

    assert metadata(found) == [{f"name{i}": i} for i in range(count)]
    assert list(entries.metadata_names) == [
        f"name{i}" for i in range(Entries.MAX_NAMES)
    ]
