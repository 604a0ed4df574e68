"""The only modules that touch the outside, one for each outside thing."""
