"""What tests share: databases, running services, doubles of other systems, steps of a story."""
