"""What goes and what stays: by example, on generated sentences, and by law."""

from __future__ import annotations

import gc
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from analysis.number_examples import (
    UNITS,
    card,
    iban,
    innocents,
    phone,
    secrets,
    with_luhn,
    words,
)
from hypothesis import given, settings

from voicepipe.analysis.redaction.cards import is_card, is_network, luhn
from voicepipe.analysis.redaction.ibans import LENGTHS, is_iban
from voicepipe.analysis.redaction.numerals import LONGEST, PHRASES, plain
from voicepipe.analysis.redaction.options import KINDS, RedactionOptions
from voicepipe.analysis.redaction.text import redact_text
from voicepipe.analysis.redaction.wordlists import WORDS


if TYPE_CHECKING:
    from stress_report import Report


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("4111111111111111", "[card]"),
        ("4111 1111 1111 1111.", "[card]."),
        ("my card: 5555-5555-5555-4444!", "my card: [card]!"),
        ("3782 822463 10005", "[card]"),
        ("4111, 1111. 1111? 1111", "[card]"),
        ("$ 4111 1111 1111 1111", "$ [card]"),
        ("4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", "[card]"),
        ("4111 1111 1111 1111 12/27 123", "[card] 12/27 123"),
        ("4111111111111111 and 5500000000000004", "[card] and [card]"),
        ("\u0664\u0661\u0661\u0661 1111 1111 1111", "[card]"),
        ("card4111111111111111x", "card[card]x"),
        ("Four one one one, one one one one, 1111, um, 1111", "[card]"),
        ("four one double one triple one" + 9 * " one", "[card]"),
        ("forty-one eleven 11 eleven eleven eleven eleven eleven", "[card]"),
        ("four one one one\none one one one\n1111\n1111", "[card]"),
        # Where a card is spoken of, its digits may have been misheard.
        ("my card is 4111 1111 1111 1112", "my card is [card]"),
        ("vier eins eins eins 1111 1111 elf elf", "[card]"),
        ("(555) 123-4567", "[phone]"),
        ("AMD (555-123-4567)", "AMD ([phone])"),
        ("call +49 (0) 30 1234567 now", "call [phone] now"),
        ("plus four nine, one five one, 23 45 67 89", "[phone]"),
        ("+1 555 010 9999, 20 people", "[phone], 20 people"),
        ("0151/12345678", "[phone]"),
        ("my number is five five five one two three four", "my number is [phone]"),
        ("it's 98765 43210", "it's [phone]"),
        ("oh seven seven double oh nine hundred one two three", "[phone]"),
        ("one eight hundred five five five one two one two", "[phone]"),
        ("zéro six, douze, trente-quatre, cinquante-six, soixante-dix-huit", "[phone]"),
        ("null eins fünf eins einundzwanzig dreiundvierzig 65 acht", "[phone]"),
        ("seis uno dos tres cuatro cinco seis siete ocho", "[phone]"),
        ("call 555-1234 or 555-4321", "call [phone] or [phone]"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "IBAN [iban]."),
        ("de89370400440532013000", "[iban]"),
        ("GB29 NWBK 6016 1331 9268 19", "[iban]"),
        (
            "D, E, 89, three seven oh four, double oh double four, oh 532 oh 130, 00.",
            "[iban].",
        ),
        ("mail john.o'neil+x@mail.example.co.uk.", "mail [email]."),
        ("<a@b.example>, mailto:c@d.example?x=1", "<[email]>, mailto:[email]?x=1"),
        ("jürgen@bücher.example", "[email]"),
        ("it's john dot smith at example dot com", "it's [email]"),
        ("j, o, h, n, four two at g mail dot com", "[email]"),
        ("my address is j underscore doe at gmail.com", "my address is [email]"),
        ("maria at example dot co dot uk, thanks", "[email], thanks"),
        ("maria at e x a m p l e dot c o m", "[email]"),
        ("maria punkt huber at beispiel punkt de", "[email]"),
        ("maria arroba ejemplo punto es", "[email]"),
    ],
)
def test_what_has_to_go_goes(text: str, clean: str) -> None:
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111 1111 1111 1112",  # the check digit is wrong
        "0000 0000 0000 0000",
        "order number 4000 0000 0000 1",
        "your order number is 12345678",
        "order one two three four five six seven eight",
        "it is $1,234,567.89 or 12.345.678,90 EUR",
        "call me: it is 5551234 EUR, $ 5551234 or 12345.50 $, 35 % off",
        "we sold 1,234,567,890 of them",
        "5551234567 bytes",
        "on 2026-11-22 at 10:30, or 22.11.2026",
        "20261122T004142",
        "call 911 or 116 117",
        "one two three four five six seven eight nine ten",
        "twenty, thirty, forty, fifty, sixty",
        "nineteen ninety nine and twenty twenty six",
        "we had 35 people, then 47, then 51, then 60, then 72",
        "3f2a91c4-1111-4111-8111-411111111111",
        "from 192.168.100.200:8080",
        "NO93 8601 1117 948",
        "look at example dot com",
        "we are at the shop dot it was nice",
        "meet me at ten dot com is a website",
        "a@b, @c.example and d@",
        "x_4111_y",
        "five plus three is eight",
        "+1 on that",
        "no, 12345678",
        "in 1991, 1992, 1993, 1994 and 1997, 1999, 2002, 2004",
        "no call: 408, 425, 429",
        "from -32768, 32768",
        "2.1.2 2.1.1 2002 and 2.4.13",
        "Boston, MA 02110-1301 USA",
        "clause 252.227-7013",
        "[card] or [phone]",
    ],
)
def test_what_has_to_stay_stays(text: str) -> None:
    assert redact_text(text) == text


NUMBERS = [
    *(("card 4111 1111 1111 1111", "card [card]"), ("4111111111111111", "[card]")),
    *(("4111-1111-1111-1111", "[card]"), ("4111  1111  1111  1111", "[card]")),
    *(("4111, 1111, 1111, 1111", "[card]"), ("call 555 123 4567", "call [phone]")),
    *(("call 5551234567", "call [phone]"), ("555.123.4567", "[phone]")),
    *(("DE89 3704 0044 0532 0130 00", "[iban]"), ("+1 555 010 9999", "[phone]")),
]


@pytest.mark.parametrize(
    "money",
    [
        *("$50", "$ 50", "\u20ac50", "\u00a320.00", "EUR 50", "Rs 500", "USD 1,000"),
        *("INR 50 %", "\n$50"),
    ],
)
@pytest.mark.parametrize(("number", "clean"), NUMBERS)
def test_an_amount_behind_a_number_leaves_nothing_of_it(
    number: str, clean: str, money: str
) -> None:
    assert redact_text(f"{number} {money}") == f"{clean} {money}"
    assert redact_text(f"{number}, {money}!") == f"{clean}, {money}!"


@pytest.mark.parametrize(
    "money", ["50 $", *words("$50 50$ 50\u20ac 12.50EUR $1,234.50 35%")]
)
@pytest.mark.parametrize(("number", "clean"), NUMBERS)
def test_an_amount_before_a_number_stays_and_the_number_goes(
    number: str, clean: str, money: str
) -> None:
    assert redact_text(f"{money} {number}") == f"{money} {clean}"


@pytest.mark.parametrize(("number", "clean"), NUMBERS[:5])
def test_a_currency_alone_hides_no_card(number: str, clean: str) -> None:
    for currency in ("EUR", "$", "%"):
        assert redact_text(f"{number} {currency}") == f"{clean} {currency}"
        # What has a space before its currency is an amount of its own.
        assert redact_text(f"{number} 50 {currency}") == f"{clean} 50 {currency}"


def test_a_cue_of_the_nearest_kind_decides() -> None:
    assert redact_text("call me: 1234 5678") == "call me: [phone]"
    assert (
        redact_text("call me about order 1234 5678") == "call me about order 1234 5678"
    )
    assert redact_text("1234 5678") == "1234 5678"


def test_the_language_says_what_a_number_word_is() -> None:
    text = "call 555 1234 once"

    assert redact_text(text, language="en") == "call [phone] once"
    assert redact_text(text, language="en-US") == "call [phone] once"
    assert redact_text("ruf an: null eins fünf eins eins eins eins eins eins") == (
        "ruf an: [phone]"
    )
    assert "eins" in redact_text("null eins fünf eins eins eins eins", language="en")


def test_words_of_two_languages_are_not_one_number() -> None:
    said = "my number is five five five one two three four"

    # Eleven in Spanish, and a word of any English sentence.
    assert redact_text(f"{said} once") == "my number is [phone] once"


def test_kinds_can_be_chosen_and_the_others_stay_whole() -> None:
    text = "4111 1111 1111 1111, a@b.example, +4915112345678, DE89370400440532013000"
    marks = {"card": 0, "email": 1, "phone": 2, "iban": 3}

    for kind in KINDS:
        parts = text.split(", ")
        parts[marks[kind]] = f"[{kind}]"
        assert redact_text(text, RedactionOptions(kinds=(kind,))) == ", ".join(parts)
    with pytest.raises(ValueError, match="pin"):
        RedactionOptions(kinds=("pin",))  # type: ignore[arg-type]


def test_no_phrase_is_two_numbers_and_all_words_are_plain() -> None:
    # Each number up to 99 is there in each language.
    for language in UNITS:
        said = {s.digits for s in PHRASES.values() if language in s.languages}
        assert {str(n) for n in range(100)} <= said, language
    assert max(map(len, PHRASES)) == LONGEST
    for name, listed in WORDS.items():
        assert [w for w in listed if plain(w) != w] == [], name
    assert PHRASES["quatre", "vingt", "dix", "sept"].digits == "97"
    assert PHRASES["soixante", "et", "onze"].digits == "71"
    assert PHRASES["treinta", "y", "cuatro"].digits == "34"
    assert PHRASES["einundzwanzig",].digits == "21"
    assert PHRASES["siebenundneunzig",].digits == "97"


def test_checks_are_those_of_the_standards() -> None:
    # The networks' own test numbers, and the registry's examples.
    for number in words(
        "378282246310005 6011111111111117 3530111333300000 30569309025904"
        " 5105105105105100 2223003122003222 6200000000000005 4222222222222"
    ):
        assert is_card(number), number
        assert is_network(number), number
        assert not is_card(number[:-1] + str((int(number[-1]) + 1) % 10))
    for number in words(
        "NO9386011117947 BE68539007547034 MT84MALT011000012345MTLCAST001S"
        " FR1420041010050500013M02606 CH9300762011623852957"
    ):
        assert is_iban(number), number
        assert not is_iban(number[:-1])
    assert all(15 <= size <= 33 for size in LENGTHS.values())


@given(st.text("0123456789", min_size=12, max_size=18))
def test_one_wrong_digit_and_two_swapped_ones_are_no_card(head: str) -> None:
    number = with_luhn(head)

    assert luhn(number)
    for place in range(len(number)):
        other = str((int(number[place]) + 3) % 10)
        assert not luhn(number[:place] + other + number[place + 1 :])


def measured(seeds: range) -> Counter[str]:
    """Count what is found of what has to go, and what stays of what has to."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        random = Random(f"measured {seed}")
        for each in secrets(random):
            how = f"{each.kind} {'spoken' if each.spoken else 'written'}"
            for language in (each.language, None):
                counts[f"{how}, tried"] += 1
                clean = redact_text(each.text, language=language)
                counts[f"{how}, gone"] += clean == each.clean
                # Of which kind it was taken for is the lesser thing.
                marked = clean.replace("[card]", "[phone]")
                counts["left"] += marked != each.clean.replace("[card]", "[phone]")
        for each in innocents(random):
            for language in (each.language, None):
                counts["innocent, tried"] += 1
                counts["innocent, stayed"] += (
                    redact_text(each.text, language=language) == each.clean
                )
    return counts


def check_figures(counts: Counter[str]) -> None:
    for name in [name for name in counts if name.endswith(", gone")]:
        tried = counts[name.replace(", gone", ", tried")]
        assert counts[name] >= 0.97 * tried, (name, counts[name], tried)
    assert counts["left"] <= 0.01 * sum(
        count for name, count in counts.items() if name.endswith(", tried")
    )
    assert counts["innocent, stayed"] >= 0.998 * counts["innocent, tried"]


def test_nearly_all_goes_that_has_to_and_nearly_nothing_else() -> None:
    check_figures(measured(range(40)))


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_the_same_in_many_sentences(stress_report: Report) -> None:
    counts = measured(range(40, 440))
    check_figures(counts)
    stress_report(
        "sentences with and without numbers that have to go",
        ", ".join(f"{name} {counts[name]:,}" for name in sorted(counts)),
    )


NOISE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(word for units in UNITS.values() for word in units),
                *words("double triple twenty hundred oh um and plus at dot dash call"),
                *words("order card bytes DE89 GB29 [card] [phone] %20 ( ) + , . - / @"),
                *words("com a@b.example example.com 10:30 2026-11-22 fastmail \\n"),
                "\n",
                "D E",
            ]
        ),
        st.integers(0, 999).map(str),
        st.integers(0, 10**19).map(str),
        st.builds(lambda seed: card(Random(seed)), st.integers(0, 50)),
        st.builds(lambda seed: phone(Random(seed))[0], st.integers(0, 50)),
        st.builds(lambda seed: iban(Random(seed)), st.integers(0, 50)),
        st.text(max_size=3),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(NOISE, st.sampled_from([" ", "", ", "]), st.sampled_from([None, *UNITS]))
def test_redacted_text_is_not_changed_again(
    pieces: list[str], between: str, language: str | None
) -> None:
    clean = redact_text(between.join(pieces), language=language)

    assert redact_text(clean, language=language) == clean


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_text_can_be_redacted_and_only_digits_words_and_addresses_go(
    text: str,
) -> None:
    clean = redact_text(text)

    if not any(c.isdecimal() or c == "@" for c in text):
        assert clean == text
    assert redact_text(clean) == clean


@pytest.mark.parametrize(
    "piece",
    [
        *words("1 a@ @a. +1 ( 1, a. - % \\n1 1.1. one"),
        *("1 ", "one ", "a at b dot ", "DE89 ", "d e ", "4111111111111111 ", "double "),
        *("555-123-4567 ", "quatre vingt ", "and ", "um, ", "D E 1 "),
    ],
)
def test_the_time_grows_in_line_with_the_text(piece: str) -> None:
    def took_s(size: int) -> float:
        text = piece * (size // len(piece))
        # A collection takes as long as the tests before have left objects about.
        gc.disable()
        try:
            begun = time.thread_time()
            redact_text(text)
            return time.thread_time() - begun
        finally:
            gc.enable()

    took_s(2_000)
    # Sixteen times the text: a square would take 256 times as long.
    assert took_s(64_000) < 80 * max(took_s(4_000), 0.004)


def test_a_megabyte_is_soon_through() -> None:
    begun = time.thread_time()
    redact_text("1" * 500_000 + "so we went there with 35 people " * 15_000)

    assert time.thread_time() - begun < 60
