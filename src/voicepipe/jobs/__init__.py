"""
Jobs kept durably: the store in a SQL database, and holding a job while it runs.

``store`` is what callers use, ``rows`` what each call does in a transaction, and
``statements`` by which SQL. ``schema`` says how jobs are laid out, ``upgrade`` brings
older layouts to it, ``values`` turns rows into jobs and back. ``connect`` knows what
each database must be told, ``database`` how one is opened, shared and waited for.
``lease`` and ``worker`` are the other side: they keep a claim alive while it is worked
on.
"""
