"""All protections round an app, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.servers.access import OPEN_PATHS, AccessGuard
from voicepipe.servers.asgi import ErrorKey
from voicepipe.servers.bodies import BodyLimit, BodyRules
from voicepipe.servers.origin import OriginGuard
from voicepipe.servers.rate import RateLimit
from voicepipe.servers.request_log import RequestLog


if TYPE_CHECKING:
    from voicepipe.servers.asgi import App
    from voicepipe.servers.settings import ServerSettings


@attrs.frozen(kw_only=True)
class AppRules:
    """
    What an app itself decides about its protections.

    Attributes:
        open_paths: Exact paths that carry no data and need no key.
        open_prefixes: Beginnings of such paths, such as ``/static/``.
        error_key: The field of an error's JSON object that has the message.
        body: The limits of a request's body.
    """

    open_paths: tuple[str, ...] = OPEN_PATHS
    open_prefixes: tuple[str, ...] = ()
    error_key: ErrorKey = "detail"
    body: BodyRules = attrs.field(factory=BodyRules)


def protect(app: App, settings: ServerSettings, rules: AppRules | None = None) -> App:
    """
    Put all protections round an ASGI app.

    From the outside in: the log of requests, ``Host`` and ``Origin``, how often, who,
    and how large a body. They hold under any ASGI server. Deadlines for a request's
    head and the way down are of ``serve``.

    Args:
        app: An ASGI 3 app, such as one of FastAPI.
        settings: Who may come, and how often.
        rules: What the app decides.
    """
    rules = rules or AppRules()
    key: ErrorKey = rules.error_key
    app = BodyLimit(app, rules.body, error_key=key)
    app = AccessGuard(
        app,
        settings,
        open_paths=rules.open_paths,
        open_prefixes=rules.open_prefixes,
        error_key=key,
    )
    app = RateLimit(app, settings, error_key=key)
    app = OriginGuard(app, settings, error_key=key)
    return RequestLog(app)
