"""The sum of vectors and nothing else.

Read in this order: `fixed_point` (numbers as integers that cannot overflow), `mersenne` (the field of the tags), `cover` (what hides the
sum from the coordinator and shows when it is wrong), `pairwise` (everyone answers), `partial_scores` (sums at one party's own rows).
`residues` (sums modulo p that the coordinator may have).
Who learns what: privacy/contracts/masked_sum.toml and privacy/contracts/partial_scores.toml.
"""
