from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from architecture import MAX_LINES, violations


PACKAGE = Path(__file__).parents[1] / "src" / "voicepipe"


def test_the_tree_keeps_its_rules() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"types/a.py": "import voicepipe.io.b", "io/b.py": ""}, "not below it"),
        ({"io/a.py": "from voicepipe.asr.b import c", "asr/b.py": "c=1"}, "not below"),
        (
            {"types/a.py": "def f():\n    from voicepipe.stream import b"},
            "voicepipe.types.a imports voicepipe.stream, which is not below it",
        ),
        (
            {"io/a.py": "import voicepipe.io.b", "io/b.py": "import voicepipe.io.a"},
            "cycle: voicepipe.io.a -> voicepipe.io.b -> voicepipe.io.a",
        ),
        (
            {
                "io/a.py": "import voicepipe.io.b",
                "io/b.py": "def f():\n    import voicepipe.io.a",
            },
            "cycle:",
        ),
        ({"stream/a.py": "async def f(): ..."}, "async def f"),
        ({"stream/a.py": "import time"}, "import time"),
        ({"stream/a.py": "def f():\n    from pathlib import Path"}, "import pathlib"),
        ({"stream/a.py": "open('x')"}, "open()"),
        ({"io/a.py": "from voicepipe import Audio"}, "not the module that has it"),
        ({"io/a.py": "from . import b"}, "not the module that has it"),
        ({"cellar/a.py": ""}, "no such room is drawn"),
        ({"io/utils.py": ""}, "a name that says nothing"),
        ({"io/a.py": "\n" * (MAX_LINES + 1)}, "lines are two files"),
    ],
)
def test_a_broken_tree_is_told(
    tmp_path: Path, files: dict[str, str], fault: str
) -> None:
    package = tmp_path / "voicepipe"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)

    assert [f for f in violations(package) if fault in f]


def test_importing_voicepipe_loads_nothing_heavy() -> None:
    names = (
        "numpy httpx anyio attrs soundfile soxr av tqdm websockets cattrs "
        "sqlalchemy pocketsphinx faster_whisper google fastapi"
    )
    code = f"import sys, voicepipe; print([*{{*{names.split()}}} & {{*sys.modules}}])"

    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "extra"),
    [("SqlJobStore", "sqlalchemy"), ("PocketSphinxTranscriber", "pocketsphinx")],
)
def test_a_name_loads_its_extra_only_when_it_is_made(name: str, extra: str) -> None:
    code = f"import sys, voicepipe; voicepipe.{name}; print({extra!r} in sys.modules)"

    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert out.stdout.strip() == "False"
