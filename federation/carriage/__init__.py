"""How batches travel and journals are kept: the one impure folder of `federation`, imported by nothing else in it.

mailbox: a batch of envelopes in Flower's records; journal_file: a participant's journal in SQLite, encrypted at rest.
"""
