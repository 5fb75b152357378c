"""What a recipe runs: each stage goes from a resolved config and a folder to a finished model or a measurement."""
