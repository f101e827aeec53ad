"""Any bytes in place of each kind of file that rnnfv reads. `make fuzz` runs it; `fuzz/run.py` says how."""
