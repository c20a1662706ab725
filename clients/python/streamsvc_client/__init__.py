"""A typed client of streamsvc: `Client`, `AsyncClient`, an exception per problem code, and `verify_webhook`.

The methods are named after the operations of the API description. Bodies and results are the dictionaries that it
describes, for which `streamsvc_client.types` has the types.
"""

from streamsvc_client.errors import ApiError as ApiError
from streamsvc_client.errors import NoResponseError as NoResponseError
from streamsvc_client.errors import StreamsvcError as StreamsvcError
from streamsvc_client.operations import AsyncClient as AsyncClient
from streamsvc_client.operations import Client as Client
from streamsvc_client.problems import *  # noqa: F403
from streamsvc_client.webhooks import WebhookError as WebhookError
from streamsvc_client.webhooks import verify_webhook as verify_webhook
