"""streamsvc: the back end of a video-streaming service in one small REST API."""

__version__ = "0.1.0"
