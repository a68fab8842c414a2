"""Parts of `lmms_eval_parity.py`."""
