"""Steps that endpoints, the worker and the command line share, from a subscription's start to its last cent."""
