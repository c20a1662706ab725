def read_nfo(file, after=0, options=None):
    return iter(())
