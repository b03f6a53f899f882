"""Recipes of rerankers, one YAML each; their settings are trl's and those of `RerankerArguments`."""
