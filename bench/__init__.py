"""Measures holisticpool beside its peers. Run as `python -m bench`; docs/performance.md explains every figure."""
