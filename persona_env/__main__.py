"""`python -m persona_env` is the command line, the same as `persona-env`."""

from persona_env.cli import main

if __name__ == "__main__":
    main()
