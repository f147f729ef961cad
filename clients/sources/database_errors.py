"""What is told of a database's error: where, its kind and what to do. Its own text may quote rows, a query, or a password, and dies here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from federation.kernel.errors import ConfigurationError, CreditfedError, DataError

_GUIDE: Final = "docs/guides/sources.md"
_DRIVERS: Final = {
    "postgresql": "creditfed[postgresql]", "oracle": "oracledb", "db2": "ibm_db_sa", "ibm_db_sa": "ibm_db_sa", "hive": "pyhive[hive_pure_sasl]",
    "opengauss": "opengauss-sqlalchemy", "mysql": "pymysql", "mariadb": "pymysql", "mssql": "pyodbc",
}  # fmt: skip
_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "28": (
        "it does not let this user in",
        "Check user and password (CREDITFED_SOURCE_PASSWORD, or keys/source.password in the node's home).",
    ),
    "3D": ("there is no such database", "Check the end of url in [source]."),
    "3F": ("there is no such schema", "Check table in [source]: SCHEMA.NAME."),
    "42P01": ("there is no such table", "Check table or query in [source]; the role needs USAGE of its schema."),
    "42703": ("there is no such column", "Check query in [source], and the columns that node.toml names."),
    "42501": ("the role may not read it", "Grant it SELECT on the table and USAGE of its schema."),
    "42601": ("query is not one SELECT statement", "Write one SELECT in [source]; it is read as a subquery."),
    "0A000": ("query is not one that only reads", "Write one SELECT in [source]; it is read as a subquery."),
    "25006": ("it would write, and the transaction is read only", "Take what writes out of the query or view."),
    "57014": ("it took longer than the server allows", "Raise statement_timeout of the role, or make the query cheaper."),
}
"""SQL's own codes of what went wrong (PostgreSQL and its kin tell them), by their beginning."""


def no_driver(where: str, dialect: str) -> ConfigurationError:
    """The driver of a URL is not there."""
    package = _DRIVERS.get(dialect)
    action = f"Install it: pip install {package}." if package else f"Check url in [source], and install its driver ({_GUIDE})."
    return ConfigurationError(where, "the driver of this database is not installed", action)


def told(where: str, what: str, error: Exception) -> CreditfedError:
    """An error of ours for a driver's. what: has failed. The driver's is read for its code and kind, and neither kept nor quoted."""
    if isinstance(error, CreditfedError):
        return error
    own = getattr(error, "orig", None) or error
    state = str(getattr(own, "sqlstate", None) or getattr(own, "pgcode", None) or "")
    for beginning, (found, action) in _STATES.items():
        if state.startswith(beginning):
            return DataError(where, found, f"Nothing was sent. {action}")
    if isinstance(own, ImportError):
        return no_driver(where, where.rpartition("(")[2].removesuffix(")"))
    if "password" in str(own):  # the server's word, which libpq passes on without a code
        found, action = _STATES["28"]
        return DataError(where, found, f"Nothing was sent. {action}")
    action = "Nothing was sent. Check that it runs, url, table or query in [source], and the role's rights."
    return DataError(where, f"{what} ({type(own).__name__})", action)
