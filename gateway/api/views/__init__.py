"""The handlers of the path table: each authenticates, reads, calls one service and replies."""
