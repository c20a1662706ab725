"""What the catalogue holds and how it is found: ratings, text, the title record, the stages of a search."""
