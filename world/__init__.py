"""The drawn sample: little scenes, their pictures, and what five people say of them.

It stands beside `utils` because it is data, in the form of code: nothing here knows a captioner.
"""
