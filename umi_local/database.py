"""A private SQLite file: made when first needed, checked to be ours, its errors told as sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from umi_local.errors import StorageError
from umi_local.paths import HOME_VARIABLE, cannot_write, private_dir


@dataclass(frozen=True, slots=True)
class Database:
    """`mark` is the application id in the file's header: it tells our files from other programs' SQLite files.

    One connection per transaction: nothing to close, and nothing that threads could share by mistake.
    """

    path: Path
    schema: str
    version: int
    mark: int
    lock_seconds: float = 5.0

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that is committed at the end and undone by an exception.

        Raises:
            StorageError: the file cannot be used; the sentence says why and what to do.
        """
        try:
            self._make_file()
            connection = sqlite3.connect(self.path, timeout=self.lock_seconds, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.create_function("holds", 2, _holds, deterministic=True)
                connection.executescript("PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;")
                self._prepare(connection)
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            explained = self._explained(error)
            if explained is None:
                raise
            raise explained from error
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def damaged(self) -> StorageError:
        """For content that cannot be read. Nobody else's file is ever changed."""
        return StorageError(
            f"{self.path} is damaged or was not written by umi-local.",
            "It was left as it is; move it away and run again to start with an empty one.",
        )

    def _make_file(self) -> None:
        private_dir(self.path.parent)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        questions = ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
        connection.execute("BEGIN")  # so that all three see the same state
        version, mark, tables = (connection.execute(question).fetchone()[0] for question in questions)
        connection.execute("COMMIT")
        if (version or tables) and mark != self.mark:
            raise self.damaged()
        if version > self.version:
            raise StorageError(
                f"{self.path} was written by a newer umi-local (format {version}, this one reads {self.version}).",
                "Upgrade with pip install -U umi-local.",
            )
        if version < self.version:
            self._create(connection)

    def _create(self, connection: sqlite3.Connection) -> None:
        """The schema says IF NOT EXISTS throughout: another process may do the same at this moment, and a file of an
        earlier version has a part of it."""
        head = f"PRAGMA application_id = {self.mark}; PRAGMA user_version = {self.version};"
        connection.executescript(f"BEGIN IMMEDIATE; {self.schema} {head} COMMIT;")
        with suppress(sqlite3.OperationalError):  # another process is reading; it works without, only slower
            connection.execute("PRAGMA journal_mode = WAL")

    def _explained(self, error: sqlite3.DatabaseError) -> StorageError | None:
        """What a person can do about it; None if it is our own mistake."""
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return removed()
        match code & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageError(f"{self.path} is in use by another process.", "Run again when that is done.")
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return self.damaged()
            case sqlite3.SQLITE_FULL:
                return StorageError(f"{self.path} could not be written: the disk is full.", "Free some space.")
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
                return self._unusable(str(error))
        return None

    def _unusable(self, reason: str) -> StorageError:
        return StorageError(
            f"{self.path} could not be used: {reason}.",
            f"Make its folder writable, or set {HOME_VARIABLE} to one that is.",
        )


def removed() -> StorageError:
    """For what belongs to a record that another process has removed."""
    return StorageError("The record that this belongs to was removed in the meantime.", "Begin a new session.")


def _holds(text: str, part: str) -> bool:
    """SQL's LIKE knows upper and lower case in ASCII only."""
    return part.casefold() in text.casefold()
