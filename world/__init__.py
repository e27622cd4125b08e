"""What the notebooks look at: photos with captions, wherever they lie, and a drawn sample.

Folders and captions files of many forms, pictures of every kind; little scenes, what five people
say of them, and the CNN that knows them. It stands beside `utils` because it is data, in the form
of code: nothing here knows a captioner.
"""
