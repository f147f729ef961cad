"""`--home`: which node a command is for. One option, one default and one text for every command of `creditfed node`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.home import Home

HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="The node's folder, which has its node.toml.")]
HERE = Path()


def there(home: Path) -> Home:
    """The node of a folder. Raises ConfigurationError where there is none."""
    found = Home(home)
    found.config()
    return found
