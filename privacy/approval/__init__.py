"""Who has approved what: people's signed votes, studies that cover several runs, and a run in plain words.

Read vote, study, learning, cost, words.
"""
