"""The models, each a plan over the three primitives.

Read training and institution (a run as a chain of stages), encode and prepare (columns to numbers), logistic, course, sides, descent,
line_search, restarts (the fit), withdrawal (rows that go on the way), then bins, binning, woe and scorecard.
"""
