def read_tmdb(file, after=0):
    return iter(())
