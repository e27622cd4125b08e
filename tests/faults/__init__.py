"""Fault tests: after disk faults and killed processes, does the same command recover?"""
