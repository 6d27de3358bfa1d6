from __future__ import annotations

import ast
import importlib.metadata
import inspect
import pickle
from pathlib import Path

import pytest

import voicepipe
from voicepipe import errors, testing


SOURCE = Path(voicepipe.__file__)


def test_the_public_list_is_sorted_and_has_no_name_twice() -> None:
    names = voicepipe.__all__

    assert sorted(set(names)) == sorted(names)


def test_imports_for_type_checkers_and_homes_tell_the_same() -> None:
    checked: dict[str, str] = {}
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if module.startswith("voicepipe.") and module != "voicepipe.homes":
            checked |= {alias.name: str(node.module) for alias in node.names}

    assert checked == voicepipe._MODULES
    assert sorted(checked) == sorted(voicepipe.__all__)


@pytest.mark.parametrize("name", voicepipe.__all__)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(voicepipe, name)

    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__module__.startswith(voicepipe._MODULES[name])
        assert inspect.getdoc(value)
    if inspect.isclass(value):
        undocumented = [
            attribute
            for attribute, member in vars(value).items()
            if not attribute.startswith("_")
            and callable(member)
            and not inspect.getdoc(getattr(value, attribute))
        ]
        assert undocumented == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        voicepipe.Nonsense  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(voicepipe.__all__) <= set(dir(voicepipe))


def test_the_testing_list_is_what_is_there() -> None:
    assert [n for n in testing.__all__ if not inspect.getdoc(getattr(testing, n))] == []


def test_no_public_function_takes_arbitrary_keywords_or_too_many() -> None:
    for name in voicepipe.__all__:
        value = getattr(voicepipe, name)
        functions = [value] if inspect.isfunction(value) else []
        if inspect.isclass(value) and "__attrs_attrs__" not in vars(value):
            functions += [f for f in vars(value).values() if inspect.isfunction(f)]
        for function in functions:
            if function.__name__.startswith("_") and function.__name__ != "__init__":
                continue
            if inspect.isclass(value) and issubclass(value, Exception):
                continue
            parameters = [
                p
                for p in inspect.signature(function).parameters.values()
                if p.name != "self"
            ]
            kinds = {p.kind for p in parameters}
            assert inspect.Parameter.VAR_KEYWORD not in kinds, (name, function)
            assert len(parameters) <= 6, (name, function)
            for p in parameters:
                positional = p.kind is not inspect.Parameter.KEYWORD_ONLY
                assert not (positional and isinstance(p.default, bool)), (
                    name,
                    function,
                )


ERRORS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_is_in_the_tree_and_drawn(kind: type[errors.VoicepipeError]) -> None:
    assert issubclass(kind, errors.VoicepipeError)
    assert isinstance(kind("x").retryable, bool)
    drawing = inspect.getdoc(errors) or ""
    assert kind.__name__ in drawing


@pytest.mark.parametrize(
    "error",
    [
        errors.MissingExtraError("sqlalchemy", extra="sql"),
        errors.UnsupportedAudioError("no", source="a.wav", got="1 Hz", wanted="more"),
        errors.TruncatedAudioError("cut", source="a", decoded_s=1.0, declared_s=2.0),
        errors.TranscriptionError("no", model="m", retryable=True),
        errors.LeaseLostError("late", job_id=3, attempt=2),
    ],
)
def test_an_error_survives_pickling_with_its_attributes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_missing_extra_names_the_command() -> None:
    error = errors.MissingExtraError("sqlalchemy", extra="sql")

    assert "pip install 'voicepipe[sql]'" in str(error)
    assert isinstance(error, ImportError)


def test_the_version_is_that_of_the_package() -> None:
    assert voicepipe.__version__ == importlib.metadata.version("voicepipe")
