"""The service as a whole: access, layout, settings, jobs, migrations, serving."""
