"""What the five notebooks share. Imports run downwards: the ground floor (settings, store), then
features, text, captioners, search, metrics, train, evaluate and visualize, then the attic (caption,
__main__). Photos and the drawn sample live next door, in `world`."""
