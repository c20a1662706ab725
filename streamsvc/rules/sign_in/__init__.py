"""Ways to prove who somebody is: formats, lifetimes, strength."""
