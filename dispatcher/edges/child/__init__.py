"""Child processes of this program, each bound in what it may use: both ends of their pipes."""
