"""What a developer runs; continuous integration runs the same sessions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox


nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests", "docs", "examples"]

PROJECT = nox.project.load_toml("pyproject.toml")
OTHER_PYTHONS = ["3.12", "3.13"]

BESIDE = ["-n", "2", "--dist", "loadfile"]
"""Two files of tests at a time."""


def groups(*names: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PROJECT, *names)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job on the sample call, or on a recording of yours."""
    session.install(".[pocketsphinx,sql]")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, two files at a time, but for the full counts of ``stress``."""
    session.install("-e", ".[all]", *groups("tests"))
    session.run("pytest", "-m", "not stress", *BESIDE, *session.posargs)


@nox.session(python=OTHER_PYTHONS)
def tests_other(session: nox.Session) -> None:
    """Run a fast part of the tests on the other supported versions."""
    session.install("-e", ".[all]", *groups("tests"))
    fast = ["types", "stream", "net", "io", "analysis", "jobs"]
    slow = ["bad_audio", "bombs", "wav_fuzz", "telephony"]
    slow += ["batch_killed", "batch_law", "batch_memory", "batch_run", "fetch_many"]
    slow += ["capture_cancelled", "capture_decoders", "capture_disk", "capture_killed"]
    slow += ["capture_memory", "capture_recovery", "stream_client"]
    slow += ["stream_client_faults"]
    slow_ones = [f"tests/io/test_{name}.py" for name in slow]
    slow = ["assembler_coded", "assembler_fuzz", "live_agreement", "live_policy"]
    slow += ["packets_fuzz", "packets_snapshots"]
    slow_ones += [f"tests/stream/test_{name}.py" for name in slow]
    slow = ["job_store_processes", "worker_docs", "worker_processes"]
    slow_ones += [f"tests/jobs/test_{name}.py" for name in slow]
    slow_ones += ["tests/analysis/test_gemini_hostile.py"]
    session.run(
        "pytest",
        "-m",
        "not stress",
        *BESIDE,
        *(f"tests/{name}" for name in fast),
        *(f"--ignore={path}" for path in slow_ones),
        "tests/test_architecture.py",
        "tests/test_public.py",
        *session.posargs,
    )


@nox.session
def pyannote(session: nox.Session) -> None:
    """Test the adapter of pyannote.audio with models made on the spot: gigabytes."""
    session.install("-e", ".[pyannote]", *groups("tests"))
    session.run(
        *("pytest", "-W", "ignore", "tests/pyannote_real", *session.posargs),
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def stress(session: nox.Session) -> None:
    """Run the full kill, soak and memory counts; writes benchmarks/STRESS.md."""
    session.install("-e", ".[all]", *groups("tests"))
    page = {} if session.posargs else {"VOICEPIPE_STRESS_PAGE": "1"}
    session.run("pytest", "-m", "stress", "--timeout=3600", *session.posargs, env=page)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and spelling."""
    session.install(*groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright; every public name must be fully typed."""
    session.install("-e", ".[all]", *groups("types"))
    session.run("mypy")
    for app in sorted({path.parent for path in Path("examples").glob("*/main.py")}):
        path = os.pathsep.join(["src", os.fspath(app)])
        session.run("mypy", *map(os.fspath, app.glob("*.py")), env={"MYPYPATH": path})
    session.run("pyright")
    session.run("pyright", "--verifytypes", "voicepipe", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, and run its examples."""
    session.install("-e", ".[all]", *groups("docs"))
    shutil.rmtree("docs/_build", ignore_errors=True)
    for builder in ("html", "doctest"):
        session.run(
            "sphinx-build", "-n", "-W", "-b", builder, "docs", f"docs/_build/{builder}"
        )


@nox.session
def examples(session: nox.Session) -> None:
    """Run every example as a user would: installed from a wheel, in a new folder."""
    session.install("build", *groups("tests"))
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", os.fspath(dist))
    wheel = next(dist.glob("*.whl"))
    session.install(f"voicepipe[all] @ {wheel.resolve().as_uri()}")
    session.run("pytest", "-o", "pythonpath=tests", "tests/test_examples.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against peers in one run; writes benchmarks/RESULTS.md."""
    session.install(".[all]", *groups("bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)
