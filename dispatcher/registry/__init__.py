"""The public registers: FINESS, the MSSanté directory, and SI-DEP's choice of a BAL."""
