"""The order of steps: what happens, and what is recorded before and after. On ports only."""
