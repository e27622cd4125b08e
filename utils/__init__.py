"""What the five notebooks share. Imports run downwards: the ground floor (settings, store, photos),
then features, text, captioners, search, metrics, train, evaluate and visualize, then the attic
(caption, run, __main__). The drawn sample lives next door, in `world`."""
