"""What the switch pipeline keeps in registers, by the names northd gives the bits."""

CONNTRACK_DEFRAG = "reg0[0]"
CONNTRACK_COMMIT = "reg0[1]"
CONNTRACK_NAT = "reg0[2]"
HAIRPIN = "reg0[6]"
HINT_ALLOW_NEW = "reg0[7]"
HINT_ALLOW = "reg0[8]"
HINT_DROP = "reg0[9]"
HINT_BLOCK = "reg0[10]"
LOOKUP_FDB = "reg0[11]"
HAIRPIN_REPLY = "reg0[12]"
ACL_LABEL = "reg0[13]"
PORT_SEC_DROP = "reg0[15]"
ACL_STATELESS = "reg0[16]"
HINT_ALLOW_RELATED = "reg0[17]"
KNOWN_LB_SESSION = "reg9[6]"

ORIGINAL_PORT = "reg2[0..15]"
AFFINITY_PORT = "reg8[0..15]"
LABEL = "reg3"


def original_address(family: int) -> str:
    """Where ls_in_pre_stateful keeps the VIP that the packet was sent to."""
    return "reg1" if family == 4 else "xxreg1"


def affinity_address(family: int) -> str:
    """Where chk_lb_aff() puts the backend's address."""
    return "reg4" if family == 4 else "xxreg0"
