"""streamsvc: the back end of a video-streaming service as a REST API."""

__version__ = "0.1.0"
