"""What raises a caption's quality: configurations trained on photos, one JSON line for each."""
