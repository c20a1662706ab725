import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.check_deployment import compose, kubernetes
from scripts.check_deployment.compose import Site
from scripts.check_deployment.containers import CONTAINERS_CONF, say
from scripts.check_image import build, build_image, provide_base, pull_image


def provide_postgresql(name: str) -> str:
    """Have PostgreSQL's image here; return where it is from."""
    if origin := pull_image(name):
        return origin
    build_image(name, Path(__file__).parent / "postgres")
    return "Debian's package, since its registry cannot be reached"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "containers.conf"
        conf.write_text(CONTAINERS_CONF)
        os.environ["CONTAINERS_CONF"] = str(conf)
        say(f"base image: from {provide_base()}")
        build()
        site = Site(Path(folder))
        say(f"PostgreSQL's image: from {provide_postgresql(site.database_image)}")
        try:
            compose.check(site)
            kubernetes.check(site)
        except RuntimeError:
            site.print_logs()
            raise
        finally:
            site.remove()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
