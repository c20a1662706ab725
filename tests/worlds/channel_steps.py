"""Steps of tests of live channels: channels over HTTP, and guides written as XMLTV."""

import gzip
from datetime import timedelta

from tests.worlds.playback_steps import World
from tests.worlds.sessions_steps import run_jobs

NEWS = {"name": "News One", "number": "1", "age_rating": "DE:6", "media": {"hls": "https://cdn.example/news/live.m3u8"}}
FORM = "%Y%m%d%H%M%S +0000"


class LiveWorld(World):
    """The service with an operator, channels and their guides."""

    def put_channel(self, external_id="news", **members):
        """Put a channel; adds its id to `ids`."""
        response = self.operator.put(f"/v1/admin/channels/{external_id}", NEWS | members)
        assert response.status_code == 200, response.json
        self.ids[external_id] = response.json["id"]
        return response.json["id"]

    def import_file(self, body, form, **query):
        """Import a file and run the worker; return the import and its rejections."""
        words = "&".join([f"format={form}", *(f"{name}={value}" for name, value in query.items())])
        headers = {"Authorization": f"Bearer {self.operator.token}", "Content-Type": "application/octet-stream"}
        body = body.encode() if isinstance(body, str) else body
        response = self.operator.client.post(f"/v1/admin/imports?{words}", data=body, headers=headers)
        assert response.status_code == 202, response.json
        run_jobs(self.app)
        path = f"/v1/admin/imports/{response.json['id']}"
        return self.operator.get(path).json, self.operator.get(f"{path}/rejections?limit=100").json["items"]

    def put_guide(self, *programmes, channel="news", compressed=False):
        """Import programmes (title, start in minutes from now, end in minutes, more XML); all must land."""
        body = self.guide(*programmes, channel=channel).encode()
        done, rejected = self.import_file(gzip.compress(body) if compressed else body, "xmltv")
        assert (done["status"], rejected) == ("done", []), (done, rejected)
        return done

    def guide(self, *programmes, channel="news"):
        """Return a guide as XMLTV."""
        now = self.clock().replace(second=0, microsecond=0)
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<!DOCTYPE tv SYSTEM "xmltv.dtd">', "<tv>"]
        for title, start, end, *more in programmes:
            starts_at, ends_at = now + timedelta(minutes=start), now + timedelta(minutes=end)
            times = f'start="{starts_at.strftime(FORM)}" stop="{ends_at.strftime(FORM)}"'
            lines.append(f'<programme {times} channel="{channel}"><title>{title}</title>{"".join(more)}</programme>')
        return "\n".join([*lines, "</tv>"])

    def programmes(self, caller=None, channel="news"):
        """Return the programmes of a channel around now, by title."""
        since, until = self.clock() - timedelta(days=10), self.clock() + timedelta(days=10)
        times = f"from={since:%Y-%m-%dT%H:%M:%SZ}&to={until:%Y-%m-%dT%H:%M:%SZ}"
        response = (caller or self.operator).get(
            f"/v1/catalog/channels/{self.ids[channel]}/programmes?{times}&limit=100"
        )
        assert response.status_code == 200, response.json
        return {item["title"]: item for item in response.json["items"]}


def rating(label, system="FSK"):
    """Return the rating of a programme as XMLTV."""
    return f'<rating system="{system}"><value>{label}</value></rating>'
