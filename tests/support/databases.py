"""Databases on one PostgreSQL server, each with the tables of an outbox and nothing in them.

To create one takes a tenth of a second, to empty one a few milliseconds: who gives one back
makes the next test fast. One whose tables were changed is dropped instead.
"""

from __future__ import annotations

import itertools
import secrets
from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine

# Not for tests of what survives a crash: those have a server of their own.
_HURRIED = (
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "SELECT pg_reload_conf()",
)
# Connecting takes as long as emptying, so a connection of our own to each database is kept.
_NAME = "mailqueue tests"
_END_OTHERS = f"""
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> '{_NAME}'
"""
_SHAPE = """
SELECT string_agg(concat_ws(' ', relname, relkind, relnatts, reloptions), ',' ORDER BY relname)
    || (SELECT coalesce(string_agg(tgname, ',' ORDER BY tgname), '') FROM pg_trigger
        WHERE NOT tgisinternal)
    || (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
    || (SELECT count(*) FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
        WHERE d.datname = current_database())
FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'mailqueue!_%' ESCAPE '!' "
    f"AND relname <> '{schema.VERSION_TABLE}'"
)
# All at once, and the ids begin with 1 again. Deleting few rows is faster than truncating.
_EMPTY = f"""
DO $$ DECLARE name text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN {_TABLES} LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    PERFORM setval(oid::regclass, 1, false) FROM pg_class
        WHERE relkind = 'S' AND relname LIKE 'mailqueue!_%' ESCAPE '!';
END $$
"""


class Databases:
    """What a test asks for an outbox in PostgreSQL. ``server``: of a role that may do everything.

    ``hurried``: the server is ours alone, and may lose all it has when the machine stops.
    """

    def __init__(self, server: str | URL, *, hurried: bool) -> None:
        self._server = make_url(server).set(drivername="postgresql+psycopg")
        self._prefix = f"mailqueue_test_{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._hurried = hurried
        self._engines: dict[str, Engine] = {}
        self._free: list[str] = []
        self._admin = self._engine(self._server)
        if hurried:
            for statement in _HURRIED:
                self._run(self._admin, statement)
        self._template = self._create("template1")
        engine = write_engine(self._url(self._template))
        schema.upgrade(engine)
        engine.dispose()
        self._shape = self._run(self._engines[self._template], _SHAPE)
        # Who copies it must be alone with it.
        self._engines[self._template].dispose()

    def outbox(self) -> str:
        """Return the URL of a database with tables and nothing in them."""
        name = self._free.pop() if self._free else self._create(self._template)
        return self._text(name)

    def bare(self) -> str:
        """Return the URL of a database without any table."""
        return self._text(self._create("template1"))

    def give_back(self, url: str) -> None:
        """End every connection to it, and make it ready for whoever asks next."""
        name = make_url(url).database or ""
        engine = self._engines[name]
        self._run(engine, _END_OTHERS)
        # Anything may have been done to it, the version of its tables among it.
        if self._run(engine, _SHAPE) == self._shape and self._emptied(engine):
            self._free.append(name)
        else:
            self._drop(name)

    def close(self) -> None:
        """Drop all that were made, unless the server goes with them."""
        for name, engine in reversed([*self._engines.items()]):
            engine.dispose()
            if not self._hurried:
                self._drop(name)
        self._admin.dispose()

    def _create(self, template: str) -> str:
        name = f"{self._prefix}_{next(self._numbers)}"
        self._run(self._admin, f"CREATE DATABASE {name} TEMPLATE {template}")
        self._engines[name] = self._engine(self._url(name))
        return name

    def _drop(self, name: str) -> None:
        self._engines.pop(name).dispose()
        self._run(self._admin, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _emptied(self, engine: Engine) -> bool:
        try:
            self._run(engine, _EMPTY)
        except DBAPIError:
            return False
        version = self._run(engine, f"SELECT version_num FROM {schema.VERSION_TABLE}")
        return bool(version == schema.HEAD)

    def _engine(self, url: URL) -> Engine:
        arguments = {"application_name": _NAME}
        return create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_pre_ping=True,  # a test may have ended every connection to its database
            connect_args=arguments,
        )

    def _run(self, engine: Engine, statement: str) -> Any:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    def _url(self, name: str) -> URL:
        return self._server.set(database=name)

    def _text(self, name: str) -> str:
        return self._url(name).render_as_string(hide_password=False)
