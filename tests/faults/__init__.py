"""The fault drill: kills and disk faults, and what the same command makes of them afterwards."""
