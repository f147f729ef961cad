"""The loan officer's visit form: at each application, from what can be seen of the firm and its owner, with cells left empty.

order, neighbours   1 to 5, around 3.2 + 0.6 health, 3.2 + 0.7 honesty, noise 0.9
stock seen          monthly purchases exp(0.2 - 0.35 health + 0.5 noise)
recommends          the officer's own view: 0.8 health + 0.5 honesty + noise > -0.3
owner               age and years in the trade by lot, schooling by lot, a home of their own the likelier the larger the firm
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.firms import Firms
from simulations.economy.randomness import Streams
from simulations.economy.shops import Rows
from simulations.economy.tables import NO_MONEY
from simulations.economy.traits import Traits

EMPTY = 0.08
"""Share of empty cells."""


def draw(streams: Streams, firms: Firms, traits: Traits, place: int, firm: NDArray[np.int64], day: NDArray[np.int64]) -> Rows:
    """One form for each application. place: of the month among all, 0 for the first of the history."""
    rng, count = streams.of("visits", place), len(firm)
    owner = np.random.Generator(np.random.SFC64(1)).permutation(1 << 16)[firms.owner[firm] % (1 << 16)] / (
        1 << 16
    )  # the same owner each time
    health, honesty, size = traits.health[firm], traits.honesty[firm], firms.size[firm]
    noise = rng.standard_normal((5, count))
    age = (24 + 40 * owner).astype(np.int64)
    years = np.minimum((age - 20) * (0.2 + 0.7 * (owner * 7919 % 1)), 45).astype(np.int64)
    stock = traits.sales[firm] * firms.of_industry("bought")[firm] * np.exp(0.2 - 0.35 * health + 0.5 * noise[0])
    columns: dict[str, NDArray[np.int64]] = {
        "owner_age": age,
        "owner_experience": years,
        "owner_education": np.digitize(owner * 104_729 % 1, [0.1, 0.5, 0.8]),
        "owner_married": (owner * 31 % 1 < 0.75).astype(np.int64),
        "owner_property": (owner * 1_299_709 % 1 < expit(0.8 + 0.4 * (np.log(size) - 13.6))).astype(np.int64),
        "employees": rng.poisson(2 + 3 * (size / 1e6) ** 0.7),
        "premises": np.digitize(rng.random(count), [0.25, 0.8, 0.92]),
        "premises_order": np.clip(np.rint(3.2 + 0.6 * health + 0.9 * noise[1]), 1, 5).astype(np.int64),
        "stock_seen": np.rint(stock * 100).astype(np.int64),
        "books_kept": np.digitize(np.log(size) - 13.6 + 0.5 * honesty + noise[2], [-1.0, 1.0]),
        "neighbours": np.clip(np.rint(3.2 + 0.7 * honesty + 0.9 * noise[3]), 1, 5).astype(np.int64),
        "recommends": (0.8 * health + 0.5 * honesty + noise[4] > -0.3).astype(np.int64),
    }
    for name, values in columns.items():
        columns[name] = np.where(rng.random(count) < EMPTY, NO_MONEY if name == "stock_seen" else -1, values)
    return {"firm": firm, "date": day, **columns}
