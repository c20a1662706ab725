"""Steps that an endpoint, the worker and the command line share."""
