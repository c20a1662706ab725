"""Whose page made a browser ask: what the browser says of it, which no page can change."""


def is_cross_site(fetch_site: str | None, origin: str | None, own_hosts: set[str]) -> bool:
    """Whether the browser says that another site's page asks. Headers that are absent say nothing.

    `fetch_site`: `Sec-Fetch-Site`, which counts first where it is decided: it stays true behind proxies that change
    the host. `origin`: `Origin`. `own_hosts`: what may stand there behind the scheme, `host` or `host:port`.
    """
    if fetch_site in ("same-origin", "none", "cross-site"):
        return fetch_site == "cross-site"
    return origin is not None and origin.partition("://")[2].lower() not in own_hosts
