"""Playing: what there is to play, who may, in how many places at once, and how far they got."""
