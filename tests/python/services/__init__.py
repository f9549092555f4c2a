"""Programs that tests run in a process of their own: services, and a few other peers.

`python -m services.NAME PATH ... OPTIONS` runs a program; OPTIONS is a JSON object. The program prints "ready" when the
test may go on: a service when callers may connect.
"""
