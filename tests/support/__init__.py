"""What tests lean on: real servers, the plugin that offers them as fixtures."""
