"""Steps shared by endpoints, the worker and the command line. They read no request; its facts are passed in."""
