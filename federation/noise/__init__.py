"""Noise without floating point, and what it costs.

Read `stream` (where uniform numbers come from: always an argument), `exact` (the samplers of Canonne, Kamath and Steinke 2020, in rational
arithmetic), `table` (the same distribution for long vectors, from tables of 128-bit cumulative chances; `draw` chooses), `accounting` (what
a sum of discrete Gaussians costs, Kairouz, Liu and Steinke 2021, and how much noise a stated epsilon and delta ask of each party).
Nothing here reads a clock, a file or a randomness of its own.
"""
