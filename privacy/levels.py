"""How sensitive a column is, and who asks: the words that policies, manifests and dictionaries share.

Level 1 to 5 is JR/T 0197-2020 (security levels of financial data: 1 public ... 5 national importance); C1 to C3 is JR/T 0171-2020 (personal
financial information: C1 internal to the institution, C2 identifies a person or their finances, C3 authenticates them).
"""

from __future__ import annotations

from typing import Final, Literal

Level = Literal[1, 2, 3, 4, 5]
Classification = Literal["C1", "C2", "C3"]

DEFAULT_LEVEL: Final = 3
DEFAULT_CLASSIFICATION: Final = "C1"

PersonRole = Literal["owner", "modeller", "validator", "operator", "risk officer", "auditor", "coordinator"]
"""owner: of the institution's data, who approves runs; modeller: asks for runs; validator: checks models; operator: keeps the node running;
risk officer: sets limits and budget; auditor: reads the log; coordinator: schedules runs.
"""

PERSON_ROLES: Final[tuple[str, ...]] = ("owner", "modeller", "validator", "operator", "risk officer", "auditor", "coordinator")
