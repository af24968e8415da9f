"""Tenant networks on a node: a namespace each, every NIC a routed port."""
