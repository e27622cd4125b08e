"""Simulated photos, captions and features, so that costs can be measured for any number of photos.

The words of the captions follow a Zipf distribution, and their lengths are about those of Flickr8k.
The features are random numbers in a memory-mapped file, as notebook 3 reads them, with fewer cells
and channels than an encoder gives: those of 100,000 photos with EfficientNet-Lite2 take 23 GB.
"""

import csv
from pathlib import Path
from string import ascii_lowercase

import numpy as np

WORDS = 10_000  # COCO has about as many that occur five times
ZIPF_EXPONENT = 1.2  # 30,000 captions then have 3,400 words that occur four times; Flickr8k, 2,900
MEAN_LENGTH = 10.8  # tokens of a caption of Flickr8k
LENGTH_DEVIATION = 3.8
SHORTEST = 3
LONGEST = 25
CELLS = 16
CHANNELS = 64
BLOCK = 1000  # photos that are simulated at a time
PHOTO_BYTES = 5000  # more than the part of a file that is read to find duplicates


def word(rank: int) -> str:
    """The word of a rank, which counts from 0: a, b, ..., z, aa, ab, ..."""
    letters = ""
    rank += 1
    while rank:
        rank, letter = divmod(rank - 1, len(ascii_lowercase))
        letters = ascii_lowercase[letter] + letters
    return letters


def simulate_captions(photos: int, captions: int = 5, seed: int = 0) -> list[list[str]]:
    """Captions of photos, `captions` of each; fewer photos have the first ones of more photos."""
    words = np.array([word(rank) for rank in range(WORDS)], object)
    probabilities = 1 / np.arange(1, WORDS + 1) ** ZIPF_EXPONENT
    cumulative = np.cumsum(probabilities / probabilities.sum())
    texts: list[list[str]] = []
    for start in range(0, photos, BLOCK):
        rng = np.random.default_rng((seed, start))
        lengths = simulate_lengths(rng, BLOCK * captions)
        ranks = np.minimum(np.searchsorted(cumulative, rng.random(lengths.sum())), WORDS - 1)
        parts = np.split(words[ranks], np.cumsum(lengths)[:-1])
        sentences = [" ".join(part) for part in parts]
        for first in range(0, len(sentences), captions):
            texts.append(sentences[first : first + captions])
    return texts[:photos]


def simulate_lengths(rng: np.random.Generator, captions: int) -> np.ndarray:
    """The number of tokens of each caption."""
    lengths = rng.normal(MEAN_LENGTH, LENGTH_DEVIATION, captions)
    return np.clip(lengths, SHORTEST, LONGEST).astype(int)


def simulate_token_ids(photos: int, captions: int, vocab_size: int, seed: int = 0) -> np.ndarray:
    """Captions of random tokens, padded, `(photos, captions, LONGEST + 2)`, with BOS and EOS."""
    from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS

    rng = np.random.default_rng(seed)
    shape = (photos, captions, LONGEST + 2)
    lengths = simulate_lengths(rng, photos * captions).reshape(photos, captions, 1)
    token_ids = rng.integers(len(SPECIAL_TOKENS), vocab_size, shape, np.int32)
    positions = np.arange(LONGEST + 2)
    token_ids = np.where(positions <= lengths, token_ids, PAD_ID)
    token_ids = np.where(positions == lengths + 1, EOS_ID, token_ids)
    token_ids[..., 0] = BOS_ID
    return token_ids.astype(np.int32)


def simulate_features(
    path: Path, photos: int, cells: int = CELLS, channels: int = CHANNELS
) -> np.ndarray:
    """Write random features to a file; returns it memory-mapped, `(photos, cells, channels)`."""
    shape = (photos, cells, channels)
    file = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    for start in range(0, photos, BLOCK):
        block = file[start : start + BLOCK]
        block[:] = rng.random(block.shape, np.float32)
    file.flush()
    del file
    return np.load(path, mmap_mode="r")


def write_photos(folder: Path, photos: int) -> None:
    """Write files with the names of photos, each with other bytes, and their captions.

    They are no images: to find the photos, the names and the last bytes of files are read.
    """
    images = folder / "Images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with open(folder / "captions.txt", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        for number, captions in enumerate(simulate_captions(photos)):
            name = f"photo_{number:06d}.jpg"
            (images / name).write_bytes(rng.bytes(PHOTO_BYTES))
            writer.writerows((name, caption) for caption in captions)
