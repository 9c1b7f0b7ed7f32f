"""Names for the registers of a router's pipeline, as northd lays them out (23.03)."""

INPORT_ETH_ADDR = "xreg0[0..47]"
"""MAC of the port that received the packet; valid up to IP_INPUT."""
NEXT_HOP = {4: "reg0", 6: "xxreg0"}
SRC = {4: "reg1", 6: "xxreg1"}
"""Own address towards the next hop: source of the ARP/ND request."""
ROUTE_TABLE_ID = "reg7"
ECMP_GROUP_ID = "reg8[0..15]"
ECMP_MEMBER_ID = "reg8[16..31]"

EGRESS_LOOPBACK = "reg9[0]"
PKT_LARGER = "reg9[1]"
LOOKUP_NEIGHBOR_RESULT = "reg9[2]"
LOOKUP_NEIGHBOR_IP_RESULT = "reg9[3]"
DST_NAT_IP_LOCAL = "reg9[4]"
KNOWN_ECMP_NH = "reg9[5]"
KNOWN_LB_SESSION = "reg9[6]"
ORIG_TP_DPORT = "reg9[16..31]"

LB_AFF_BACKEND = {4: "reg4", 6: "xxreg1"}
LB_AFF_MATCH_PORT = "reg8[0..15]"
ECMP_ETH_FULL = "xxreg1"
ECMP_ETH_FIELD = "xxreg1[32..79]"
"""Where ct_label.ecmp_reply_eth lies within the label."""
