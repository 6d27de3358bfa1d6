"""
Jobs kept durably: the store in a SQL database, and holding a job while it runs.

``store`` says what each call does to a job, ``rows`` by which statements, ``schema``
how jobs are laid out, ``database`` how a database is opened, shared and waited for.
``lease`` is the other side: it keeps a claim alive while someone works on it.
"""
