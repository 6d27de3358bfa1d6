"""
Audio sent to a capture server, such that nothing is lost with a connection.

``values`` says what goes in and what comes out, ``messages`` what the server says
(pure), ``unacked`` what it does not have for certain yet (pure), ``endpoint`` where it
is, ``backoff`` when to try again. ``websocket`` is one connection, ``session`` all of
them together, ``sources`` makes chunks of files and sound and ``pace`` says when they
are due; ``client`` is what people use.
"""
