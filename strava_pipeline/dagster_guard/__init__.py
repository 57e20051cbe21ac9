"""What stands before Dagster's webserver: who may ask it for what, by which name, and from which page.

ASGI middleware around Dagster's own app. Nothing here imports Dagster, or knows its routes but one, ``/graphql``.
"""
