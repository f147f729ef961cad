"""Models over many banks with the same columns and different firms. Every one is a `Plan`: what a bank adds next, and what follows from the sum.

Read `plan` first; `program` carries a plan through a session, one masked sum to a stage.
"""
