"""The billing audit: recomputes the books, compares, and places a billing hold on what does not reconcile."""
