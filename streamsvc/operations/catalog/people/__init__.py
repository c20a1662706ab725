"""People: what operators say of them, their list, and merging two of them."""
