"""What the five notebooks share, from the ground up; imports run downwards only.

settings, files, plain: a run's numbers, and files that are whole or not there
store: the artifacts · text: words and numbers · metrics, meteor: scores of captions
devices, batches, earlier: what a training needs beside a model
encoders, captioners, trained: the models · features, ranking, search: what they see, rate, write
reward, train: how they learn · evaluate, visualize: what they are worth, and how it looks
caption: photos in, sentences out

Photos and the drawn sample live next door, in `world`, the commands in `terminal`.
"""
