"""Servers that speak the wire format of one provider each, on loopback.

They take no request that the provider's published schema or SDK types do not know, and answer as its
documentation shows; each module says where its format is from.
"""
