"""A certificate authority for the tests' own servers."""

from __future__ import annotations

import ssl
from typing import Any

import attrs
import pytest
import trustme


@attrs.frozen
class Authority:
    """
    Somebody who signs certificates, and whoever trusts it.

    Attributes:
        ca: The authority.
        trusting: For a client that trusts it and nobody else besides the usual ones.
    """

    ca: trustme.CA = attrs.field(factory=trustme.CA)
    trusting: ssl.SSLContext = attrs.field(factory=ssl.create_default_context)

    def __attrs_post_init__(self) -> None:
        self.ca.configure_trust(self.trusting)

    def server(self, *names: str, **how: Any) -> ssl.SSLContext:
        """Give a server's side with a certificate for some names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, **how).configure_cert(context)
        return context

    def self_signed(self) -> ssl.SSLContext:
        """Give a server's side with a certificate that only itself has signed."""
        other = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with (
            other.cert_pem.tempfile() as certificate,
            other.private_key_pem.tempfile() as key,
        ):
            context.load_cert_chain(certificate, key)
        return context


@pytest.fixture(scope="session", name="authority")
def an_authority() -> Authority:
    """Give the authority that a client is to trust."""
    return Authority()
