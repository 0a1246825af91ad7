"""Define the `basicsr` command.

Each subcommand is a module with `add_arguments(parser)`, `run(args) -> int` and `EXAMPLES`.
"""
