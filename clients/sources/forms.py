"""A folder of forms as one table: every *.toml below it is one record, a key for each question and its answer, in the order of the files' names.

What begins with "." or "_" is passed over, so that the blank form may lie beside those that are filled in. Answers come as text, as the cells
of a CSV do, and the raw door judges them. A file's name may be a firm's number: errors count the forms, from 1, and name none.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from clients.own_tables import OwnTable
from clients.sources.frame import Frame
from clients.sources.table import Skipped
from federation.kernel.errors import DataError

LONGEST: Final = 1 << 16
"""Bytes of a form: more is not a form."""
_AT_ONCE: Final = 1_000
_LINE: Final = re.compile(r"at line (\d+)")


@dataclass(frozen=True)
class FormsSource:
    """Forms of one kind. names: of the questions, as the institution's mapping has them."""

    where: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    typed: bool = False

    def read(self, columns: Sequence[str], exact: Collection[str] = ()) -> Frame:
        """Those questions' answers, form after form. Raises DataError."""
        return Frame.of(self.where, self.batches(columns, Skipped()), exact)

    def batches(self, columns: Sequence[str], skipped: Skipped) -> Iterator[Any]:  # noqa: ARG002  # a form is whole or refused
        """Those questions' answers as text, "" where there is none. Raises DataError."""
        for begin in range(0, len(self.files), _AT_ONCE):
            forms = [self._answers(number, path) for number, path in enumerate(self.files[begin : begin + _AT_ONCE], begin + 1)]
            arrays = [pa.array([form.get(name, "") for form in forms], pa.string()) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _answers(self, number: int, path: Path) -> dict[str, str]:
        document = self._document(number, path)
        if unknown := [key for key in document if key not in self.names]:
            near = list(dict.fromkeys(name for key in unknown for name in difflib.get_close_matches(key, self.names, 1)))
            hint = f"Nearest: {', '.join(map(repr, near))}." if near else f"The questions are: {', '.join(self.names)}."
            raise self._refused(number, f"{len(unknown)} of its keys are none of the form's questions", hint)
        answers = {name: _text(answer) for name, answer in document.items()}
        if wrong := [name for name, answer in answers.items() if answer is None]:
            action = 'Answer with one value, such as "12", yes as true, or a day as 2024-03-31.'
            raise self._refused(
                number, f"the answer to {wrong[0]!r} is a list, a table, a time of day or a number of twenty digits", action
            )
        return {name: answer for name, answer in answers.items() if answer is not None}

    def _document(self, number: int, path: Path) -> dict[str, Any]:
        line = ""
        if path.is_symlink() or not path.is_file():
            raise self._refused(number, "it is a link, or no file", "Put the form itself there.")
        try:
            with path.open("rb") as file:
                content = file.read(LONGEST + 1)
            if len(content) <= LONGEST:
                return tomllib.loads(content.decode("utf-8-sig"), parse_float=lambda text: text.replace("_", ""))
            what = f"it is longer than {LONGEST:,} bytes"
        except OSError as error:
            what = f"it cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            what = "it is not text in UTF-8"
        except (ValueError, RecursionError) as error:  # its text may quote an answer
            found = _LINE.search(str(error))
            line, what = (f", line {found[1]}" if found else ""), "it is not well-formed TOML"
        raise self._refused(number, f"{what}{line}", 'Write each answer as: question = "answer".')

    def _refused(self, number: int, what: str, action: str) -> DataError:
        counted = f"form {number:,} of {len(self.files):,} (in the order of the files' names)"
        return DataError(self.where, f"{counted}: {what}", f"Nothing was kept. {action}")


def open_forms(table: OwnTable, folder: Path, where: str) -> FormsSource:
    """Look at a folder of forms. Raises DataError where none is filled in."""
    files = filled_in(folder)
    if not files:
        what = f"{folder} has no form that is filled in (*.toml), and no Parquet part"
        raise DataError(where, what, "Copy the blank form there for each record, and fill it in.")
    return FormsSource(where, files, tuple(table.columns.get(column.name, column.name) for column in table.kind.columns))


def filled_in(folder: Path) -> tuple[Path, ...]:
    """A folder's forms, sorted. A link is among them: it is refused when it is read, and not passed over."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".toml")
    return tuple(sorted(path for path in found if not any(name.startswith((".", "_")) for name in path.relative_to(folder).parts)))


def _text(answer: object) -> str | None:
    """An answer as a CSV's cell would have it; None for what no cell can hold."""
    match answer:
        case bool():
            return "yes" if answer else "no"
        case int() if abs(answer) >= 1 << 63:
            return None
        case str() | int():
            return str(answer)
        case dt.date():  # a moment, too
            return answer.isoformat()
        case _:
            return None
