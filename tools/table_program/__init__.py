"""The program that query_table starts in the child process. Nothing of the parent is imported here, and the parent
imports nothing of this: DuckDB lives in the child alone.
"""
