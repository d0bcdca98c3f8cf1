"""Saved conversations: every run is stored as it happens, so that a kill loses at most the step in flight.

A session has runs, one per query; a run has steps. What was said before a run is its session's earlier runs, so
a stored trajectory has no `history`. A run that has not ended is `interrupted`: nothing in the file can tell a
process that was killed from one that is still at work.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from umi_local.database import Database, removed
from umi_local.errors import UsageError
from umi_local.events import Event, RunEnded, RunStarted, StepEnded
from umi_local.paths import data_dir
from umi_local.plain import escaped, printable
from umi_local.trajectory import Step, Trajectory
from umi_local.wire import from_json, step_from_json, step_to_json, to_json, to_markdown

INTERRUPTED = "interrupted"
_VERSION = 2
_MARK = 0x756D696C
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, created REAL NOT NULL, used REAL NOT NULL,
  pack TEXT NOT NULL, workspace TEXT NOT NULL, mode TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
  id INTEGER PRIMARY KEY, session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
  started REAL NOT NULL, ended REAL, query TEXT NOT NULL, answer TEXT NOT NULL DEFAULT '', stop TEXT,
  trajectory TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS runs_of_session ON runs (session);
CREATE TABLE IF NOT EXISTS steps (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, position INTEGER NOT NULL, step TEXT NOT NULL,
  PRIMARY KEY (run, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS titles (
  session TEXT PRIMARY KEY REFERENCES sessions ON DELETE CASCADE, title TEXT NOT NULL) WITHOUT ROWID;
"""
_SESSIONS = f"""
SELECT s.*,
  (SELECT count(*) FROM runs WHERE session = s.id) AS runs,
  coalesce((SELECT title FROM titles WHERE session = s.id),
    (SELECT query FROM runs WHERE session = s.id ORDER BY id LIMIT 1)) AS title,
  (SELECT coalesce(stop, '{INTERRUPTED}') FROM runs WHERE session = s.id ORDER BY id DESC LIMIT 1) AS state
FROM sessions s
"""
_HOLDS = """
(EXISTS (SELECT 1 FROM runs WHERE session = s.id AND (holds(query, :text) OR holds(answer, :text)))
  OR EXISTS (SELECT 1 FROM titles WHERE session = s.id AND holds(title, :text)))
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A saved conversation.

    `title` is what it was called, else its first query; `state` how its last run stopped, or `interrupted`.
    """

    id: str
    created: datetime
    used: datetime
    pack: str
    workspace: str
    mode: str
    runs: int
    title: str
    state: str

    def to_json(self) -> dict[str, Any]:
        """Times are ISO 8601 in UTC."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "created": self.created.isoformat(), "used": self.used.isoformat()}


class SessionStore:
    """Sessions in one SQLite file, which is made when it is first needed, readable by its owner alone.

    Any thread or process may use it at any time. Every method raises StorageError when the file cannot be used.
    """

    def __init__(self, path: Path, lock_seconds: float = 5.0) -> None:
        self._database = Database(path, _SCHEMA, _VERSION, _MARK, lock_seconds)

    def create(self, pack: str, workspace: Path | str, mode: str) -> str:
        """The id of a new session: the time in UTC, so that ids sort, and four random digits."""
        with self._database.transaction(write=True) as connection:
            now = time.time()
            while True:
                stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
                session_id = f"{stamp}-{secrets.token_hex(2)}"
                values = (session_id, now, now, pack, _storable(str(workspace)), mode)
                with suppress(sqlite3.IntegrityError):
                    connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", values)
                    return session_id

    def branch(self, session_id: str, runs: int) -> str:
        """The id of a new session that begins as this one does: with its first `runs` runs. This one stays as it is."""
        old = self.get(session_id)
        new = self.create(old.pack, old.workspace, old.mode)
        with self._database.transaction(write=True) as connection:
            first = connection.execute("SELECT id FROM runs WHERE session = ? ORDER BY id LIMIT ?", (old.id, runs))
            for (run,) in first.fetchall():
                copied = connection.execute(
                    "INSERT INTO runs (session, started, ended, query, answer, stop, trajectory) "
                    "SELECT ?, started, ended, query, answer, stop, trajectory FROM runs WHERE id = ?",
                    (new, run),
                ).lastrowid
                connection.execute("INSERT INTO steps SELECT ?, position, step FROM steps WHERE run = ?", (copied, run))
        return new

    def record(self, session_id: str) -> Recorder:
        """What writes this session's runs when it is given their events."""
        return Recorder(self._database, session_id)

    def trajectories(self, session_id: str) -> tuple[Trajectory, ...]:
        """All runs of a session in order; the `stop` of an interrupted one is None."""
        return tuple(trajectory for _, trajectory in self._runs(self.get(session_id).id))

    def list(self, limit: int = 20, search: str = "") -> tuple[Session, ...]:
        """Sessions with runs, last used first; `search` is looked for in titles, queries and answers."""
        found = _HOLDS if search else "EXISTS (SELECT 1 FROM runs WHERE session = s.id)"
        query = f"{_SESSIONS} WHERE {found} ORDER BY s.used DESC, s.rowid DESC LIMIT :limit"
        with self._database.transaction() as connection:
            rows = connection.execute(query, {"text": _storable(search), "limit": limit})
            return tuple(_session(row) for row in rows)

    def get(self, prefix: str) -> Session:
        """The session whose id begins with `prefix`.

        Raises:
            UsageError: there is none, or more than one.
        """
        query = f"{_SESSIONS} WHERE substr(s.id, 1, length(:prefix)) = :prefix ORDER BY s.id LIMIT 4"
        with self._database.transaction() as connection:
            found = [_session(row) for row in connection.execute(query, {"prefix": _storable(prefix)})]
        if len(found) == 1 and prefix:
            return found[0]
        if not found or not prefix:
            raise UsageError(f"There is no session {prefix!r}.", "See umi-local sessions list.")
        raise UsageError(f"{prefix!r} begins several session ids: {_names(found)}.", "Give more of the id.")

    def latest(self) -> Session:
        """The session used last.

        Raises:
            UsageError: there is none yet.
        """
        found = self.list(limit=1)
        if not found:
            raise UsageError("There is no session yet.", 'Start one with umi-local ask "...".')
        return found[0]

    def rename(self, session_id: str, title: str) -> None:
        """Call a session something; an empty title gives it its first query's words again."""
        found, named = self.get(session_id).id, " ".join(title.split())
        with self._database.transaction(write=True) as connection:
            connection.execute("DELETE FROM titles WHERE session = ?", (found,))
            if named:
                connection.execute("INSERT INTO titles VALUES (?, ?)", (found, _storable(named)))

    def remove(self, session_id: str) -> None:
        """Forget a session; its bytes in the file are overwritten."""
        found = self.get(session_id).id
        with self._database.transaction(write=True) as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", (found,))

    def export(self, session_id: str, form: Literal["json", "markdown"]) -> str:
        """A session and its runs, as a JSON object or as a page to read, both harmless to a terminal.

        JSON keeps every character as an escape, Markdown does without.
        """
        session = self.get(session_id)
        runs = self._runs(session.id)
        if form == "json":
            told = {**session.to_json(), "runs": [_run_to_json(row, trajectory) for row, trajectory in runs]}
            return escaped(json.dumps({"schema_version": 1, **told}, ensure_ascii=False, indent=2)) + "\n"
        head = f"# Session {session.id}\n\nPack: {session.pack}  \nWorkspace: {session.workspace}"
        pages = [f"## {_local(row['started'])}\n\n{to_markdown(trajectory)}" for row, trajectory in runs]
        return printable("\n\n".join([head, *pages])) + "\n"

    def _runs(self, session_id: str) -> tuple[tuple[sqlite3.Row, Trajectory], ...]:
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM runs WHERE session = ? ORDER BY id", (session_id,)).fetchall()
            return tuple((row, self._trajectory(connection, row)) for row in rows)

    def _trajectory(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Trajectory:
        steps = connection.execute("SELECT step FROM steps WHERE run = ? ORDER BY position", (row["id"],))
        try:
            trajectory = from_json(json.loads(row["trajectory"]))
            return replace(trajectory, steps=tuple(step_from_json(json.loads(step)) for (step,) in steps))
        except ValueError as error:
            raise self._database.damaged() from error


def open_store() -> SessionStore:
    """The user's saved conversations.

    Raises:
        StorageError: the data folder cannot be made.
    """
    return SessionStore(data_dir() / "sessions.db")


class Recorder:
    """Stores the runs of one session from their events, each in a transaction of its own.

    A call raises StorageError when the event could not be stored; what was stored before stays.
    """

    def __init__(self, database: Database, session_id: str) -> None:
        self._database = database
        self._session = session_id
        self._run: int | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted(trajectory):
                self._start(trajectory)
            case StepEnded(index, step):
                with self._database.transaction(write=True) as connection:
                    self._check(connection)
                    _put_step(connection, self._run, index, step)
            case RunEnded(trajectory):
                self._end(trajectory)

    def _start(self, trajectory: Trajectory) -> None:
        with self._database.transaction(write=True) as connection:
            now = time.time()
            run = connection.execute(
                "INSERT INTO runs (session, started, query, trajectory) VALUES (?, ?, ?, ?)",
                (self._session, now, _storable(trajectory.query), _frame(trajectory)),
            )
            connection.execute("UPDATE sessions SET used = ? WHERE id = ?", (now, self._session))
            self._run = run.lastrowid

    def _end(self, trajectory: Trajectory) -> None:
        """The ended trajectory has the last word on the steps as well."""
        stop = trajectory.stop.value if trajectory.stop else None
        with self._database.transaction(write=True) as connection:
            self._check(connection)
            now = time.time()
            connection.execute("DELETE FROM steps WHERE run = ?", (self._run,))
            for position, step in enumerate(trajectory.steps):
                _put_step(connection, self._run, position, step)
            connection.execute(
                "UPDATE runs SET ended = ?, answer = ?, stop = ?, trajectory = ? WHERE id = ?",
                (now, _storable(trajectory.answer), stop, _frame(trajectory), self._run),
            )
            connection.execute("UPDATE sessions SET used = ? WHERE id = ?", (now, self._session))

    def _check(self, connection: sqlite3.Connection) -> None:
        """That the run is still there and ours: SQLite gives the number of one that was removed again."""
        ours = "SELECT 1 FROM runs WHERE id = ? AND session = ?"
        if connection.execute(ours, (self._run, self._session)).fetchone() is None:
            raise removed()


def _put_step(connection: sqlite3.Connection, run: int | None, position: int, step: Step) -> None:
    values = (run, position, json.dumps(step_to_json(step)))
    connection.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", values)


def _frame(trajectory: Trajectory) -> str:
    """A trajectory without what is stored elsewhere."""
    return json.dumps(to_json(replace(trajectory, steps=(), history=())))


def _storable(text: str) -> str:
    """SQLite takes no lone surrogates, which a command line that is not UTF-8 contains."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _session(row: sqlite3.Row) -> Session:
    fields = {**dict(row), "title": row["title"] or "", "state": row["state"] or "empty"}
    times = {name: datetime.fromtimestamp(row[name], UTC) for name in ("created", "used")}
    return Session(**{**fields, **times})


def _run_to_json(row: sqlite3.Row, trajectory: Trajectory) -> dict[str, Any]:
    told = {**to_json(trajectory), "stop": row["stop"] or INTERRUPTED}
    del told["history"]
    times = {name: row[name] and datetime.fromtimestamp(row[name], UTC).isoformat() for name in ("started", "ended")}
    return {**times, **told}


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _names(found: list[Session]) -> str:
    return ", ".join(session.id for session in found[:3]) + (", ..." if len(found) > 3 else "")
