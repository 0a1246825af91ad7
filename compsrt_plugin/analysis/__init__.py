"""What a network or a file is made of, costs and loses: one folder for each question."""
