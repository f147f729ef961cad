"""Which kinds of institution there are: those that the dictionary has entries of, and agencies. A role is data: a file of the dictionary is one.

A role that the dictionary does not have is refused wherever one is stated (node, run file, members, enrolment), and policies know no such word,
so that a question about its columns is refused too. An information source (court, registry, ...) is asked as a tax bureau is: no default rule
names either, so that the levels and classes of its columns decide, and whatever no rule permits is refused.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from privacy.dictionary.entries import dictionary

AGENCY: Final = "agency"
"""A licensed credit agency between platform and lender; it relays, holds consent and is audited, and brings no columns."""


@cache
def institution_roles() -> tuple[str, ...]:
    """Every role that an institution may have."""
    return (*dictionary().roles, AGENCY)
