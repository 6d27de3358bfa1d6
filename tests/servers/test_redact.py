"""What of people's numbers reaches a log, and what of the server's own does not go."""

from __future__ import annotations

import logging
import traceback
from random import Random

import hypothesis.strategies as st
import pytest
from analysis.number_examples import card, iban, in_fours, one_by_one, phone, words
from hypothesis import given, settings

from voicepipe.analysis.redaction.find import Line, find
from voicepipe.analysis.redaction.text import redact_log
from voicepipe.servers.logs import SafeFormatter, log_zone
from voicepipe.servers.redact import GONE, Redactor


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("paid with 4111111111111111", "paid with [card]"),
        ("('4111-1111-1111-1111',)", "('[card]',)"),
        ("b'3782 822463 10005'", "b'[card]'"),
        ("x\\n4111 1111 1111 1111", "x\\n[card]"),
        ("GET /a/4111%201111%201111%201111", "GET /a/[card]"),
        ("said: four one one one one one one one 1111 1111", "said: [card]"),
        ("+49 151 23456789 rang", "[phone] rang"),
        ("POST /call/%2B4915123456789 200", "POST /call/[phone] 200"),
        ("tel:+15550109999", "tel:[phone]"),
        ("(555) 123-4567", "[phone]"),
        ("555-123-4567, 555.123.4567", "[phone], [phone]"),
        ("{'caller': '9876543210', 'n': 1}", "{'caller': '[phone]', 'n': 1}"),
        ("phone=5551234", "phone=[phone]"),
        ("five five five one two three four five six seven", "[phone]"),
        ("DE89370400440532013000", "[iban]"),
        ("d@e.example did it", "[email] did it"),
        ("GET /users/d%40e.example/x", "GET /users/[email]/x"),
        ("john dot smith at example dot com", "[email]"),
        ("token=4111111111111111", f"token={GONE}"),
    ],
)
def test_peoples_numbers_are_taken_out(text: str, clean: str) -> None:
    assert Redactor()(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "3f2a91c4 GET /storage/info 200 in 12.3 ms from 127.0.0.1",
        "listening on http://127.0.0.1:8080",
        "from [2001:db8::1]:54321",
        "session 3f2a91c4-1111-4111-8111-411111111111",
        "job 1234567 of call 9876543210, attempt 3",
        "5368709120 bytes of 9876543210",
        "frames 4111111 to 5555555 5555 4444",
        "[12345678, 23456789, 34567890]",
        "at 1732233600 (1732233600123, 1732233600123456789)",
        "2026-11-22T00:41:42.123+05:30, 20261122T004142Z",
        "offset 6011000000000000, size 4000000000000000",
        "sha256 1111111111111111111111111111111111111111111111111111111111111111",
        "pid 4242, 100 200 3000, 555 123 4567",
        "0.123456789 s, 1e-9, 12.5 %, 1,234,567 rows",
        "voicepipe-0.1.0, python 3.11.2, git@github",
        '  File "/srv/a/b.py", line 1234567, in f',
        "one two three four five six seven eight nine ten",
        "1763771702.1234567",
        "librtmp1 2.4+20151223.gitfa8646d.1-2+b2, libkmod2_30+20221128-1_amd64",
        "C1234567890123456 call_id=81234567890",
        "Range: bytes=2000000000-2999999999",
        "http://127.0.0.1:54321/a/0000012345678",
    ],
)
def test_the_servers_own_numbers_stay(text: str) -> None:
    assert Redactor()(text) == text


@settings(max_examples=200)
@given(
    st.integers(0, 10**9),
    st.sampled_from(["%s", "'%s'", "x=%s&", "/a/%s/b", "[%s]", "said %s.", "(%s)"]),
)
def test_what_is_written_as_people_write_it_never_reaches_a_log(
    seed: int, frame: str
) -> None:
    random = Random(seed)
    number, account, (written, _) = card(random), iban(random), phone(random)
    secrets = [in_fours(number, random.choice(["", " ", "-"])), account]
    if written[0] in "+(":
        secrets.append(written)
    secrets.append(one_by_one(random, number, "en"))

    for secret in secrets:
        assert secret not in Redactor()(frame % secret)


@settings(max_examples=200)
@given(st.floats(0, 2e9), st.integers(0, 2**31), st.integers(0, 65535), st.uuids())
def test_times_sizes_ports_and_ids_stay(
    when: float, size: int, port: int, name: object
) -> None:
    line = f"{name} {size} bytes in {when:.3f} s from 10.1.2.3:{port} at {int(when)}"

    assert Redactor()(line) == line


def test_a_log_line_is_not_changed_again() -> None:
    line = "a@b.example 4111111111111111 +4915112345678 DE89370400440532013000"
    clean = Redactor()(line)

    assert clean == "[email] [card] [phone] [iban]"
    assert Redactor()(clean) == clean


def test_an_errors_text_and_its_causes_are_clean() -> None:
    number, caller = "4111 1111 1111 1111", "+49 151 23456789"

    def fail() -> None:
        raise KeyError(number)

    try:
        try:
            fail()
        except KeyError as exc:
            raise ValueError(f"no such customer: {caller}") from exc
    except ValueError as exc:
        info = (type(exc), exc, exc.__traceback__)
        raw = "".join(traceback.format_exception(exc))
    formatter = SafeFormatter(log_zone("UTC"), Redactor())
    record = logging.LogRecord("n", logging.INFO, "p.py", 1, "x %s", ("a@b.cc",), info)
    text = formatter.format(record)

    assert "4111 1111" in raw
    assert "23456789" in raw
    assert text.count("[card]") == 1
    assert text.count("[phone]") == 1
    assert "x [email]" in text
    assert "1111" not in text
    assert "2345" not in text


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            words(
                "at dot example com john one two double hundred triple eight 1 23 456"
                " 7890 4111111111111111 plus + - ( ) / call phone DE89 arroba punto GET"
                " 370400440532013000 %20 a@b.example %40"
            )
        ),
        max_size=16,
    ).map(" ".join)
)
def test_what_is_not_looked_into_has_nothing_to_find(line: str) -> None:
    found = find([Line(text=line)], strict=True)

    assert (redact_log(line) != line) == bool(found)
