"""The coordinator: the Flower ServerApp, the run file and the manifest drawn from it, the courier, results and their report.

Read run_file, draft, app, courier, result, report.
"""
