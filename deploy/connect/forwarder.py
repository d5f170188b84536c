"""Amazon Connect's Lambda function: hands each event on to Countersign, signed, and its answer back.

Environment: COUNTERSIGN_URL (https://calls.example.com/connect/event) and COUNTERSIGN_CONNECT_SECRET.
Handler: forwarder.handler. Python 3.11 or later, nothing to install. Timeout of the function: 8 seconds.

It also takes Amazon Connect's contact events from EventBridge, to say that a caller hung up. It logs
nothing: events hold numbers and keyed secrets.
"""

import hashlib
import hmac
import json
import os
import time
import urllib.request

# Of all ends of a contact, those that are the caller's. An agent's leg ends without the call being over.
ENDS = {"CUSTOMER_DISCONNECT", "TELECOM_PROBLEM"}


def handler(event, _context):
    if event.get("source") == "aws.connect":
        event = ended(event.get("detail", {}))
        if event is None:
            return {}
    body = json.dumps(event, separators=(",", ":")).encode()
    now = str(int(time.time()))
    secret = os.environ["COUNTERSIGN_CONNECT_SECRET"].strip().encode()
    signature = hmac.new(secret, f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Countersign-Signature": f"t={now},v1={signature}"}
    request = urllib.request.Request(os.environ["COUNTERSIGN_URL"], body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=7.5) as answer:
        return json.load(answer)


def ended(detail):
    """A contact event as an event of ours, if it says that the caller is gone."""
    if detail.get("eventType") != "DISCONNECTED" or detail.get("disconnectReason") not in ENDS:
        return None
    contact = {"ContactId": detail["contactId"], "InitialContactId": detail.get("initialContactId"), "InstanceARN": detail.get("instanceArn")}
    return {"Name": "ContactEvent", "Details": {"ContactData": contact, "Parameters": {"do": "over"}}}
