def read_m3u(file, after=0, options=None):
    return iter(())
