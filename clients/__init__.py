"""An institution's node: its Flower ClientApp, its vault and sources, and what it keeps.

Read app, node, home, vault, results.
"""
