"""Sums of x_i * r_i where r is another party's secret: nothing else is learned.

Read in this order: `parameters` (the scheme, and why decryption is certain), `packing` (vectors and columns as polynomials that cannot
overflow), `keys` (the owner's), `products` (the holder's), `sanitise` (what leaves the holder), `protocol` (the messages). Below them lie
`residues` (arithmetic modulo SEAL's primes) and `seal_bytes` (the way into SEAL). Who learns what: privacy/contracts/encrypted_linear.toml.
"""
