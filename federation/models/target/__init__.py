"""Outcomes of a repayment table: which rows were good, bad, indeterminate or left out, and how the book moved. Everything here is pure.

Read in this order:

    observation   the months at which rows are observed, and up to which month outcomes have matured
    histories     the repayment table as one line of months for each loan
    units         what is judged: a loan, or all loans of a firm
    outcomes      the outcome of every unit as of a month, and of every row of a feature table
    roll_rates    from which state of arrears to which, from month to month and over the performance window
    vintages      the share ever bad by months on book, by quarter of origin
    findings      all of it together, as it stands in the label party's own results

The definition is `kernel.manifest.TargetSettings`; what of the findings may leave is `privacy.disclosure.portfolio`'s.
"""
