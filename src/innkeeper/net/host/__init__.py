"""Networks that the host itself has for machines: a bridge, its addresses, rules for what passes, DHCP and DNS.

Making one needs CAP_NET_ADMIN; what was made is recorded where everybody can read it, so that machines of others can join.
"""
