"""What the parties compute together: pure protocols, no sockets, files, clock or global randomness (but for `carriage`)."""
