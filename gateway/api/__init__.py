"""The HTTP edge of the API: one path table, one view for generation, one for fetch, whatever the route is called."""
