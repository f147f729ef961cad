"""What kind of invoices they are: how many, how large, how many void, how many red-letter."""

from __future__ import annotations

from clients.roles.tax.series import Floats, ratio
from clients.roles.tax.view import AsOf, Ledger


def quality(side: str, view: AsOf, ledger: Ledger) -> dict[str, Floats]:
    """side: "sales" or "purchases", with which the names begin. Void invoices are in the void shares alone."""
    found: dict[str, Floats] = {}
    for length in (3, 6, 12):
        number, red, void = (view.sum(ledger, measure, length) for measure in ("number", "red_number", "void_number"))
        net, red_amount, void_amount = (view.sum(ledger, measure, length) for measure in ("amount", "red_amount", "void_amount"))
        gross, plain = net + red_amount, number - red  # of valid invoices that are not red-letter ones
        found |= {
            f"{side}_invoices_{length}m": view.known(length, number),
            f"{side}_invoice_size_{length}m": view.known(length, ratio(gross, plain * 100)),
            f"{side}_void_share_{length}m": view.known(length, ratio(void, number + void)),
            f"{side}_void_amount_share_{length}m": view.known(length, ratio(void_amount, gross + red_amount + void_amount)),
            f"{side}_red_share_{length}m": view.known(length, ratio(red, number)),
            f"{side}_red_amount_share_{length}m": view.known(length, ratio(red_amount, gross + red_amount)),
        }
    return found
