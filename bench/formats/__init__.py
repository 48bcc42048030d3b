"""JSON, TOML, schemas and checksums. Nothing here knows what an experiment is."""
