"""What stands on the PBX today, written anew for the comparison: called as
`peer.py MSISDN CALL_START CALL_END [DIRECTION]` from the hangup handler, it tells RapidPro of the
call with the rapidpro-python client while the channel waits.

Settings come from a file of KEY=VALUE lines, whose path is in PEER_SETTINGS."""

import os
import sys

from temba_client.v2 import TembaClient


def read_settings(path):
    with open(path) as lines:
        pairs = (line.strip().split("=", 1) for line in lines if "=" in line)
        return dict(pairs)


def main(msisdn, call_start, call_end, direction="inbound"):
    settings = read_settings(os.environ["PEER_SETTINGS"])
    client = TembaClient(settings["RAPIDPRO_URL"], settings["RAPIDPRO_TOKEN"])
    if msisdn[0] == "0":
        msisdn = "+254" + msisdn[1:]
    elif msisdn[0] != "+":
        msisdn = "+" + msisdn
    tel, whatsapp = f"tel:{msisdn}", f"whatsapp:{msisdn[1:]}"
    contact = client.get_contacts(urn=tel).first()
    if contact is None:
        contact = client.get_contacts(urn=whatsapp).first()
    if contact is None:
        contact = client.create_contact(urns=[tel, whatsapp])
    client.create_flow_start(
        settings["RAPIDPRO_FLOW"],
        contacts=[contact.uuid],
        restart_participants=True,
        params={"call_start_time": call_start, "call_end_time": call_end, "direction": direction},
    )


main(*sys.argv[1:])
