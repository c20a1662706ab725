"""What holds for the whole service: the access matrix, the layout, settings, serving."""
