"""
A list of recordings fetched and standardized, with a ledger of what is done.

``run`` is the way in, ``values`` what goes in and comes out, ``bar`` shows how far it
is. ``listing`` reads the list: ``delimited``, ``jsonlines`` and ``parquet`` each know
one format, ``lines`` and ``rows`` are what they share; ``entries`` makes of a row what
is to be fetched. ``ledger`` keeps what has become of it, ``plan`` compares the two and
``files`` the folder, ``manifest`` writes down the result.
"""
