"""Whether a browser's request comes from another site's page, according to headers that pages cannot change."""


def is_cross_site(
    fetch_site: str | None, origin: str | None, own_hosts: set[str], allowed_origins: tuple[str, ...] = ()
) -> bool:
    """Whether a page that is neither our own nor of an allowed origin made the request. Absent headers count as ours.

    `fetch_site`: the `Sec-Fetch-Site` header, which takes precedence if it is conclusive: it stays correct behind
    proxies that change the host. `origin`: the `Origin` header. `own_hosts`: accepted hosts in it, as `host` or
    `host:port`. `allowed_origins`: exact origins of front ends that count as our own, wherever they are.
    """
    if origin in allowed_origins:
        return False
    if fetch_site in ("same-origin", "none", "cross-site"):
        return fetch_site == "cross-site"
    return origin is not None and origin.partition("://")[2].lower() not in own_hosts
