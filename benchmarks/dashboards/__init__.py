"""The pages that read the largest tables, timed over as many rows as a large installation has."""
