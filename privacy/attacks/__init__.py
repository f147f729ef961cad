"""Attacks on our own protocols, from what a party or a coalition truly holds.

Each file has the attack and a deliberately weakened copy of the protocol, which the attack must break: so that its failure against ours
says something. Weakened copies live here and in tests alone; no setting of a product turns a protection off.
"""
