"""Sentences with numbers that have to go, and with numbers that have to stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random


def words(text: str) -> list[str]:
    """Give the words of a list that is easier to read as text."""
    return text.split()


UNITS = {
    "en": words("zero one two three four five six seven eight nine"),
    "de": words("null eins zwei drei vier fünf sechs sieben acht neun"),
    "es": words("cero uno dos tres cuatro cinco seis siete ocho nueve"),
    "fr": words("zéro un deux trois quatre cinq six sept huit neuf"),
}
TEENS = words(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
NETWORKS = (
    *(("4", 16), ("51", 16), ("55", 16), ("2300", 16), ("37", 15), ("6011", 16)),
    *(("36", 14), ("3530", 16), ("4", 19), ("62", 16)),
)
NAMES = ("john", "maria", "steffi", "rahul", "claire", "ahmed")
HOSTS = ("example", "fastmail", "webhaus", "tiendanet")
ENDINGS = ("com", "org", "de", "es", "fr", "net", "co.uk", "in")


@attrs.frozen
class Example:
    """
    A sentence.

    Attributes:
        text: As an engine might write it.
        clean: What must be left of it.
        language: Its language.
        kind: What is in it; empty where all has to stay.
        spoken: Whether it is in words.
    """

    text: str
    clean: str
    language: str = "en"
    kind: str = ""
    spoken: bool = False


def with_luhn(head: str) -> str:
    """Put the check digit behind the others."""
    total = 0
    for place, digit in enumerate(reversed(head)):
        double = int(digit) * 2
        total += sum(divmod(double, 10)) if place % 2 == 0 else int(digit)
    return head + str(-total % 10)


def card(random: Random) -> str:
    """Give a card number that no bank has issued."""
    first, size = random.choice(NETWORKS)
    return with_luhn(first + digits(random, size - len(first) - 1))


def digits(random: Random, size: int) -> str:
    return "".join(random.choice("0123456789") for _ in range(size))


def iban(random: Random) -> str:
    """Give an IBAN with right check digits."""
    country, size = random.choice([("DE", 18), ("ES", 20), ("AT", 16), ("CH", 17)])
    account = digits(random, size)
    letters = "".join(str(int(letter, 36)) for letter in country)
    return f"{country}{98 - int(account + letters + '00') % 97:02d}{account}"


def in_fours(text: str, between: str) -> str:
    return between.join(text[at : at + 4] for at in range(0, len(text), 4))


def one_by_one(random: Random, number: str, language: str) -> str:
    """Say digits one by one, English ones as people do: oh, double five."""
    said = []
    at = 0
    while at < len(number):
        digit = UNITS[language][int(number[at])]
        freely = language == "en" and random.random() < 0.5
        if freely and number[at : at + 2] == number[at] * 2:
            said.append("double " + ("oh" if digit == "zero" else digit))
            at += 2
            continue
        if freely and digit == "zero":
            digit = "oh"
        said.append(digit)
        at += 1
    return spaced(random, said)


def in_pairs(random: Random, number: str) -> str:
    """Say an English number two digits at a time."""
    said = []
    for at in range(0, len(number), 2):
        pair = number[at : at + 2]
        if len(pair) == 1 or pair[0] == "0":
            said += [UNITS["en"][int(d)] for d in pair]
        elif pair[0] == "1":
            said.append(TEENS[int(pair[1])])
        else:
            unit = UNITS["en"][int(pair[1])] if pair[1] != "0" else ""
            said.append(TENS[int(pair[0]) - 2] + ("-" + unit if unit else ""))
    return spaced(random, said)


def spaced(random: Random, said: list[str]) -> str:
    """Put words together, with pauses and fillers as one has when reading out."""
    text = said[0]
    for number, word in enumerate(said[1:], start=1):
        pause = number % 4 == 0
        between = random.choice([" ", ", ", ", um, ", " - "]) if pause else " "
        text += between + word
    return text


def phone(random: Random) -> tuple[str, str]:
    """Give a number as it is written, and its digits."""
    area, local = str(random.randrange(201, 990)), digits(random, 7)
    exchange = str(random.randrange(200, 1000))
    national = f"{area}{exchange}{local[3:]}"
    mobile = str(random.randrange(6, 10)) + digits(random, 9)
    german = digits(random, 8).replace("0", "4")
    written = random.choice(
        [
            f"({area}) {exchange}-{local[3:]}",
            f"{area}-{exchange}-{local[3:]}",
            f"{area}.{exchange}.{local[3:]}",
            f"{area} {exchange} {local[3:]}",
            f"+1 {area} {exchange} {local[3:]}",
            f"1-{area}-{exchange}-{local[3:]}",
            national,
            f"+49 151 {german}",
            f"+49 (0)30 {german}",
            f"0151 {german[:4]} {german[4:]}",
            f"0049 151 {german}",
            f"+33 6 {german[:2]} {german[2:4]} {german[4:6]} {german[6:]}",
            f"06 {german[:2]} {german[2:4]} {german[4:6]} {german[6:]}",
            f"+34 6{german[:2]} {german[2:5]} {german[5:]}",
            f"020 7{german[:3]} {german[3:7]}",
            f"+91 {mobile[:5]} {mobile[5:]}",
            f"{mobile[:5]} {mobile[5:]}",
        ]
    )
    return written, "".join(c for c in written if c.isdigit())


FRAMES = {
    "card": {
        "en": (
            "My card number is {}.",
            "It's {}, and it expires in May.",
            "Okay so the number is {}",
            "Yes, {}. Can you take it from there?",
        ),
        "de": ("Meine Kartennummer ist die {}.", "Also, {}, gültig bis Mai."),
        "es": ("El número de mi tarjeta es {}.",),
        "fr": ("Le numéro de ma carte est le {}.",),
    },
    "phone": {
        "en": (
            "You can reach me at {}.",
            "My number is {}, thank you.",
            "{}, that's my mobile.",
            "It is {}",
            "Please call {} after lunch.",
        ),
        "de": ("Meine Nummer ist {}.", "Ich bin erreichbar: {}."),
        "es": ("Mi teléfono es el {}.",),
        "fr": ("Mon numéro, c'est le {}.",),
    },
    "iban": {
        "en": ("The IBAN is {}.", "Please send it to {}, thank you."),
        "de": ("Meine IBAN lautet {}.",),
    },
    "email": {
        "en": (
            "Please write to {}.",
            "My email is {}, thanks.",
            "It's {}.",
            "Send the invoice to {} please",
        ),
        "de": ("Man schreibt mir an {}.",),
        "es": ("Mi correo es {}.",),
    },
}

SPOKEN_AT = {"en": ("at", "dot"), "de": ("at", "punkt"), "es": ("arroba", "punto")}


def secrets(random: Random) -> Iterator[Example]:
    """Give one sentence of each kind with something that has to go."""
    number = card(random)
    yield _framed(random, "card", "en", in_fours(number, random.choice(["", " ", "-"])))
    yield _framed(random, "card", "en", one_by_one(random, number, "en"), spoken=True)
    yield _framed(random, "card", "en", in_pairs(random, number), spoken=True)
    language = random.choice(["de", "es", "fr"])
    said = one_by_one(random, number, language)
    yield _framed(random, "card", language, said, spoken=True)
    written, told = phone(random)
    yield _framed(random, "phone", "en", written)
    plus = "plus " if written[0] == "+" else ""
    said = plus + one_by_one(random, told, "en")
    yield _framed(random, "phone", "en", said, spoken=True)
    language = random.choice(["de", "es", "fr"])
    yield _framed(
        random, "phone", language, one_by_one(random, told, language), spoken=True
    )
    account = iban(random)
    between = random.choice(["", " "])
    yield _framed(
        random, "iban", random.choice(["en", "de"]), in_fours(account, between)
    )
    said = f"{account[0]} {account[1]} {one_by_one(random, account[2:], 'en')}"
    yield _framed(random, "iban", "en", said, spoken=True)
    name, host, ending = map(random.choice, (NAMES, HOSTS, ENDINGS))
    joint = random.choice([".", "_", "-", ""])
    local = f"{name}{joint}{random.choice(NAMES)}" if joint else name
    address = f"{local}@{host}.{ending}"
    yield _framed(random, "email", random.choice(["en", "de", "es"]), address)
    language = random.choice(["en", "de", "es"])
    at, dot = SPOKEN_AT[language]
    marks = {".": dot, "@": at, "_": "underscore", "-": "minus"}
    said = "".join(f" {marks[c]} " if c in marks else c for c in address)
    yield _framed(random, "email", language, said, spoken=True)


def _framed(
    random: Random, kind: str, language: str, secret: str, *, spoken: bool = False
) -> Example:
    frame = random.choice(FRAMES[kind][language])
    return Example(
        frame.format(secret), frame.format(f"[{kind}]"), language, kind, spoken
    )


def _say(number: int) -> str:
    if number < 10:
        return UNITS["en"][number]
    if number < 20:
        return TEENS[number - 10]
    unit = f" {UNITS['en'][number % 10]}" if number % 10 else ""
    return TENS[number // 10 - 2] + unit


INNOCENT: tuple[Callable[[Random], str], ...] = (
    lambda r: f"That is ${r.randrange(1, 10_000):,}.{r.randrange(100):02d} in total.",
    lambda r: f"It costs {r.randrange(1, 4000)},{r.randrange(100):02d} Euro.",
    lambda r: f"We sold {r.randrange(10**6, 10**9):,} of them.",
    lambda r: f"We sold {r.randrange(10**6, 10**9)} units.",
    lambda r: f"Your order number is {r.randrange(10**6, 10**10)}.",
    lambda r: f"The order number is {one_by_one(r, digits(r, 8), 'en')}.",
    lambda r: (
        f"Invoice {r.randrange(10**7, 10**8)} of 2026-{r.randrange(1, 13):02d}-11"
    ),
    lambda r: f"It arrives on {r.randrange(1, 29)}.{r.randrange(1, 13)}.2026 at 10:30.",
    lambda r: (
        f"On {r.randrange(1, 13)}/{r.randrange(1, 29)}/2026"
        f" at 9:{r.randrange(10, 60)} pm."
    ),
    lambda r: f"The code is {r.randrange(1000, 10**6)}.",
    lambda r: f"Text STOP to {r.randrange(10_000, 100_000)}.",
    lambda r: (
        f"We have {_say(r.randrange(100))} boxes and {_say(r.randrange(100))} bags."
    ),
    lambda r: (
        f"Between nineteen ninety {UNITS['en'][r.randrange(1, 10)]} and twenty ten."
    ),
    lambda r: "One, two, three, four, five, six, seven, eight, nine, ten.",
    lambda r: (
        f"It's two thousand three hundred and {_say(r.randrange(10, 100))} dollars."
    ),
    lambda r: (
        f"My zip code is {r.randrange(10_000, 99_999)}-{r.randrange(1000, 9999)}."
    ),
    lambda r: f"Tracking number {r.randrange(10**11, 10**12)}, sent yesterday.",
    lambda r: f"The part is {r.randrange(100, 999)}-{r.randrange(10, 99)}, I think.",
    lambda r: (
        f"From {r.randrange(1990, 2020)} to {r.randrange(2020, 2030)}, so "
        f"{r.randrange(10, 30)} years."
    ),
    lambda r: (
        f"Version {r.randrange(10)}.{r.randrange(100)}.{r.randrange(1000)} of it."
    ),
    lambda r: (
        f"The scores were {r.randrange(100)}, {r.randrange(100)}, "
        f"{r.randrange(100)} and {r.randrange(100)}."
    ),
    lambda r: f"Das kostet {r.randrange(10**3, 10**6)} Euro, Rechnung {digits(r, 9)}.",
    lambda r: f"El pedido {digits(r, 9)} cuesta {r.randrange(10, 999)} euros.",
    lambda r: f"La commande {digits(r, 8)} du {r.randrange(1, 29)} mai.",
    lambda r: f"Look at example dot com, item {r.randrange(100, 10_000)}.",
    lambda r: f"We met at {r.randrange(1, 12)} at the shop dot it was nice.",
    lambda r: f"Serial number {digits(r, 10)}, model {r.randrange(100, 999)}.",
    lambda r: f"Your ticket is {digits(r, 7)} and the case {digits(r, 8)}.",
    lambda r: f"{r.randrange(10, 99)} percent of {r.randrange(10**6, 10**7)} people.",
    lambda r: (
        f"Flat {r.randrange(1, 99)}, {r.randrange(1, 999)} Main Street, "
        f"{r.randrange(10_000, 99_999)}."
    ),
    lambda r: f"It's room {r.randrange(100, 999)}, then {r.randrange(100, 999)}.",
    lambda r: f"The balance is {r.randrange(10**4, 10**7)} rupees.",
    lambda r: (
        f"Call me at {r.randrange(1, 12)}:{r.randrange(10, 60)}, not before "
        f"{r.randrange(1, 12)}."
    ),
)
"""Makers of sentences in which all has to stay."""


def innocents(random: Random) -> Iterator[Example]:
    """Give one sentence of each kind in which all has to stay."""
    for make in INNOCENT:
        text = make(random)
        yield Example(text, text)
