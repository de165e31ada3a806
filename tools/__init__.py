"""The project's own tools: they start the service, prepare its environment and check it; production needs none."""
