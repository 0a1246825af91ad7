"""Picture files in, enlarged picture files out: formats and what goes with them, jobs, going on after a stop."""
