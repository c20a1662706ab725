"""`python -m streamsvc.cli`: the same as `streamsvc`."""

from streamsvc.cli import main

main()
