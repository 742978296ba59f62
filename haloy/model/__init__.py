"""The words everybody shares, as frozen values. No I/O, no clock, no randomness."""
