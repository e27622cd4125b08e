"""What is done from a terminal and never in a notebook: run the five, render, pack and push them,
caption, find, score. `python -m utils COMMAND` leads here; nothing in `utils` needs it.
"""
