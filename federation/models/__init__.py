"""The models, each a plan over the three primitives.

Read training (a run as a chain of stages), encode and prepare (columns to numbers), logistic, descent, line_search, restarts (the fit),
then bins, binning, woe and scorecard.
"""
