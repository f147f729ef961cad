"""Sales against purchases: margin, how well input matches output, and the burden of tax. Amounts in CNY, shares of net sales."""

from __future__ import annotations

import numpy as np

from clients.roles.tax.series import Floats, likeness, ratio
from clients.roles.tax.view import AsOf, Ledger


def balance(view: AsOf, sales: Ledger, purchases: Ledger) -> dict[str, Floats]:
    """What needs both sides."""
    found: dict[str, Floats] = {}
    for length in (3, 6, 12):
        sold, bought = (view.sum(ledger, "amount", length) for ledger in (sales, purchases))
        output, spent = (view.sum(ledger, "tax", length) for ledger in (sales, purchases))
        found[f"margin_{length}m"] = view.known(length, ratio(sold - bought, sold))
        found[f"input_output_match_{length}m"] = view.known(
            length, ratio(np.maximum(np.minimum(sold, bought), 0), np.maximum(sold, bought))
        )
        found[f"vat_burden_{length}m"] = view.known(length, ratio(output - spent, sold))
    together = likeness(*(view.months(ledger, "amount", 12) for ledger in (sales, purchases)))
    found["input_output_correlation_12m"] = view.known(12, together)
    return found


def output_tax(view: AsOf, sales: Ledger) -> dict[str, Floats]:
    """What needs sales alone."""
    taxes = {length: view.sum(sales, "tax", length) for length in (3, 6, 12)}
    found = {f"output_tax_{length}m": view.known(length, tax / 100) for length, tax in taxes.items()}
    found["output_tax_rate_12m"] = view.known(12, ratio(taxes[12], view.sum(sales, "amount", 12)))
    return found


def input_tax(view: AsOf, purchases: Ledger) -> dict[str, Floats]:
    """What needs purchases alone."""
    return {"input_tax_rate_12m": view.known(12, ratio(view.sum(purchases, "tax", 12), view.sum(purchases, "amount", 12)))}
