"""BasicSR models of the plugin."""
