"""`python -m umi_local` is `umi-local`."""

from umi_local.cli.main import run

if __name__ == "__main__":
    run()
