"""The commands of `python -m utils`: run, caption, search, score, download, kaggle, html."""
