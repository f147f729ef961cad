"""Adapters: an institution's raw records to the features that the consortium's dictionary defines. One folder for each role."""
