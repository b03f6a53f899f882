"""Training recipes, one YAML a stage."""
