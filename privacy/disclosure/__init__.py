"""Disclosure control: what may leave in clear, whoever asked and whatever the protocol.

Read in this order:

    dominance      sums that one or two firms make up
    rounding       published numbers on a grid
    model_size     models with too many parameters for their rows
    release        what a node remembers of a release: keyed hashes of rows and firms
    differencing   a release that differs from an earlier one by a few firms
    combinations   the same, by any linear combination of earlier releases
    rules          what an institution has set of these in its node.toml, and what is asked of a run before anything leaves
    published      a validator's pack by these rules

Everything here is pure; `privacy.store.releases` keeps the releases on disk. Source of the classical rules: Hundepool et al. 2012, Statistical
Disclosure Control (Wiley), chapters 4 (tables of magnitudes) and 5 (tables of frequencies).
"""
