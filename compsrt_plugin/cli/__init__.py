"""One file per subcommand of `basicsr`: `add_arguments(parser)`, `run(args) -> int`, and `EXAMPLES`."""
