"""Who may see what, and what is spent: leakage contracts and the attacks that measure them."""
