"""Is a replica fit to serve?"""
