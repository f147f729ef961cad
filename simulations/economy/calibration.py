"""Numbers of the economy: published facts with their source, and choices, which are marked. docs/economy.md discusses each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

# -- firms ------------------------------------------------------------------------------------------------------------------------------

TAIL: Final = 1.06
"""Exponent of the firm size distribution's tail, P(size > s) ~ s^-TAIL (Axtell, Science 293, 2001: 1.059 of employees, near Zipf's 1)."""
BODY: Final = 0.9
"""Standard deviation of the log-normal body (choice); the product of the two is Reed's double Pareto-lognormal with one tail."""
MICRO_SHARE, MICRO_LIMIT = 0.853, 3e6
"""85.3 % of China's legal-person small and medium enterprises are micro (NBS, fourth economic census, 2019); the limit is that of industry
in the standard of 2011: yearly sales below CNY 3 million."""
LARGEST: Final = 4e8
"""CNY a year: where medium firms of industry end (MIIT and others, 2011, no. 300). Larger ones are not in this world."""
LIFE_SHAPE, LIFE_SCALE = 0.704, 8.4
"""Weibull of a firm's life in years: 20 % close in their first year and half within five (US BLS, Business Employment Dynamics)."""
GROWTH: Final = 0.045
"""Yearly growth of foundings (choice): with the lives above about half of all firms are younger than five years, as SAIC counted in China in
2013 (49.4 %)."""
OLDEST: Final = 480
"""Months before the first month in which the oldest firm may be founded."""


@dataclass(frozen=True)
class Industry:
    """A section of GB/T 4754-2017. share: of firms; risk: shift of the log odds of a cash shortfall; cyclical: weight of the macro cycle;
    vat: rate of general taxpayers; shops: weight of being on a platform; invoiced: share of sales that goes to other firms by invoice;
    bought: purchases as a share of sales; season: amplitude over the year. Shares follow world.py; all but `vat` are choices.
    """

    share: float
    risk: float
    cyclical: float
    vat: float
    shops: float
    invoiced: float
    bought: float
    season: float


INDUSTRIES: Final = {
    "C": Industry(0.24, 0.0, 1.1, 0.13, 1.0, 0.95, 0.68, 0.08),   # manufacturing
    "E": Industry(0.10, 0.25, 1.3, 0.09, 0.2, 0.85, 0.62, 0.20),  # construction
    "F": Industry(0.28, 0.05, 1.0, 0.13, 2.0, 0.60, 0.78, 0.15),  # wholesale and retail
    "G": Industry(0.08, 0.1, 1.1, 0.09, 0.4, 0.85, 0.50, 0.10),   # transport
    "H": Industry(0.09, 0.45, 1.2, 0.06, 1.6, 0.25, 0.45, 0.20),  # hotels and catering
    "I": Industry(0.08, -0.3, 0.7, 0.06, 0.6, 0.90, 0.30, 0.05),  # information technology
    "L": Industry(0.08, -0.05, 0.9, 0.06, 0.4, 0.85, 0.35, 0.05),  # leasing and business services
    "M": Industry(0.05, -0.35, 0.6, 0.06, 0.2, 0.90, 0.30, 0.05),  # research
}  # fmt: skip
SALES_TO: Final = np.array([
    # C     E     F     G     H     I     L     M       seller below, buyer above
    [0.38, 0.12, 0.38, 0.02, 0.02, 0.03, 0.02, 0.03],  # C
    [0.30, 0.30, 0.14, 0.06, 0.06, 0.04, 0.06, 0.04],  # E
    [0.26, 0.16, 0.34, 0.05, 0.11, 0.03, 0.03, 0.02],  # F
    [0.40, 0.10, 0.34, 0.06, 0.03, 0.02, 0.03, 0.02],  # G
    [0.20, 0.10, 0.20, 0.10, 0.05, 0.15, 0.12, 0.08],  # H
    [0.24, 0.05, 0.20, 0.06, 0.05, 0.22, 0.12, 0.06],  # I
    [0.26, 0.12, 0.22, 0.08, 0.08, 0.10, 0.10, 0.04],  # L
    [0.40, 0.12, 0.08, 0.03, 0.02, 0.15, 0.08, 0.12],  # M
])  # fmt: skip
"""Who buys from whom: each row sums to 1. Its pattern (industry to industry and trade, construction buys materials) follows China's input-output
tables roughly; the numbers are choices."""
REGIONS: Final = {
    "310000": -0.15,
    "320000": -0.1,
    "330000": -0.2,
    "370000": 0.05,
    "410000": 0.15,
    "440000": -0.1,
    "510000": 0.1,
    "210000": 0.35,
}
"""GB/T 2260 province codes and their shift of the log odds of a cash shortfall (choice)."""
REGION_SHARES: Final = (0.1, 0.16, 0.16, 0.13, 0.1, 0.2, 0.1, 0.05)
GENERAL_TAXPAYER: Final = 5e6
"""CNY of yearly sales from which VAT is that of general taxpayers (Caishui 2018 no. 33); below it the rate is 3 % here."""

# -- invoices (the 425 real firms of CUMCM 2020 C: see docs/economy.md for the counts) ----------------------------------------------------

VOID_SHARE, VOID_SPREAD = 0.045, 0.6
"""Share of void invoices of an honest firm at the median, and the spread of its log odds: in the real data 3.6 to 8.3 % by file."""
RED_SHARE: Final = 0.022
"""Share of red-letter invoices: 0.9 to 5.3 % of the rows of the real files."""

# -- lending ----------------------------------------------------------------------------------------------------------------------------

NEED: Final = 0.65
"""Firms that want credit (choice, such that a quarter has a loan and two fifths want one in vain)."""
BORROWERS: Final = 0.25
"""Share of firms with a bank loan (World Bank Enterprise Survey, China 2012: about a quarter)."""
CONSTRAINED: Final = 0.40
"""Share of formal firms that want credit and do not get it (IFC, MSME Finance Gap, 2017: 40 %, in developing countries)."""
DEFAULT_RATE: Final = 0.03
"""Yearly, of loans to small firms: China's supervisor gave 2 to 3 % non-performing among inclusive small loans of 2019-2023."""
RATE: Final = 0.048
"""Mean yearly interest of new inclusive small loans in China (NFRA for 2023: 4.78 %; 5.28 % in 2022)."""
