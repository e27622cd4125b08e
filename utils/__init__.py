"""What the five notebooks share. Imports run downwards: the ground floor (settings, store, photos,
the sample), then features, text, captioners, search, metrics, train, evaluate and visualize, then
the attic (caption, run, __main__)."""
