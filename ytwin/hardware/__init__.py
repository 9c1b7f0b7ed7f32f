"""What cards, hosts and datapaths can do, as data: one YAML file per profile, every number with unit, source and kind.

`decode_profiles(files)` reads texts strictly; `shipped()` gives the profiles that come with the package;
`profile_of(card, datapath, profiles)` says which one a node's NetworkCard means. No number about hardware stands in code. Nothing
here knows of packets.
"""
