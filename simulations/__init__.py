"""Whole consortia on one machine: the command, worlds, the in-process back end, the pooled reference, benchmarks."""
