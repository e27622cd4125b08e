"""What the notebooks look at: a drawn sample, and Flickr8k where it is to be fetched.

Little scenes, their pictures, what five people say of them, and the CNN that knows them. It stands
beside `utils` because it is data, in the form of code: nothing here knows a captioner.
"""
