"""Sphinx's settings. Everything builds offline, and warnings are errors."""

from __future__ import annotations

import doctest
import re
from typing import TYPE_CHECKING

import attrs
from sphinx.util.typing import stringify_annotation

import voicepipe


if TYPE_CHECKING:
    from sphinx.application import Sphinx


project = "voicepipe"
author = "The voicepipe developers"
project_copyright = "The voicepipe developers"
version = release = voicepipe.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"voicepipe {version}"
html_static_path = ["_static"]
html_css_files = ["voicepipe.css"]
html_copy_source = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # "CONVERSATION_TYPES" instead of all that is in it
autodoc_typehints_format = "short"
autodoc_type_aliases = {"npt.ArrayLike": "numpy.typing.ArrayLike"}
python_maximum_signature_line_length = 72

napoleon_numpy_docstring = False
# Fields as a list, once: their types are in the signature.
napoleon_custom_sections = [("Attributes", "params_style")]

# The names that a docstring's example needs beside its own imports.
doctest_global_setup = """
import anyio
from voicepipe import *
from voicepipe.testing import *
"""
# Without IGNORE_EXCEPTION_DETAIL, which Sphinx sets: a message is part of an example.
doctest_default_flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1

# Nothing is fetched, so that other projects' names stay without a link.
nitpick_ignore_regex = [
    ("py:.*", r"(anyio|collections|contextlib|datetime|numpy|os|pathlib)\..*"),
    ("py:.*", r"(ssl|types)\..*"),
    # The same, written in a signature as the source has them.
    ("py:class", r"AbstractAsyncContextManager|Path|datetime|np\..*|npt\..*"),
    # Type variables.
    ("py:class", r"X|Y|voicepipe\.protocols\.(X_contra|Y_co)"),
    # What a session gives is known by its protocol, not by its class.
    ("py:class", r"voicepipe\.(asr|testing)\.\w+\._\w+"),
]


def show_public_bases(
    _app: Sphinx, _name: str, _value: object, _options: object, bases: list[type]
) -> None:
    """Show the bases of a base that has no public name in its place."""
    bases[:] = [
        shown
        for base in bases
        for shown in (base.__bases__ if base.__name__.startswith("_") else (base,))
    ]


ALIASES = {
    stringify_annotation(getattr(voicepipe, name), "smart"): f"~voicepipe.{name}"
    for name in (
        "AudioSource",
        "CaptureStatus",
        "DecoderFactory",
        "Durability",
        "EndReason",
        "JobStatus",
        "Samples",
        "StageName",
        "StreamFormat",
    )
}


def show_names(
    _app: Sphinx,
    _what: str,
    _name: str,
    value: object,
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Show aliases by name, and the defaults of fields not as attrs writes them."""
    if signature and isinstance(value, type) and attrs.has(value):
        defaults = {field.name: field.default for field in attrs.fields(value)}
        signature = re.sub(
            r"attr_dict\['(\w+)'\]\.default",
            lambda found: repr(defaults[found[1]]),
            signature.replace("= NOTHING", "= ..."),
        )
    for written, alias in ALIASES.items():
        signature = signature and signature.replace(written, alias)
        returns = returns and returns.replace(written, alias)
    return signature, returns


def setup(app: Sphinx) -> None:
    """Connect what no setting says."""
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("autodoc-process-signature", show_names)
