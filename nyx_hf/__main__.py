"""`python -m nyx_hf` is `nyx-hf`."""

from nyx_hf.cli import main

if __name__ == "__main__":
    main()
