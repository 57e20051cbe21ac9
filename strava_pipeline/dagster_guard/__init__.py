"""Access control in front of Dagster's webserver, as ASGI middleware around Dagster's app.

It checks the host name, the origin and the login of each request. It does not import Dagster, and knows only one of
Dagster's routes, ``/graphql``.
"""
