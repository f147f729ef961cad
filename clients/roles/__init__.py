"""From raw records to features of the dictionary, one folder for each role: `ROLE/features.py` has `build(records, months)`."""
