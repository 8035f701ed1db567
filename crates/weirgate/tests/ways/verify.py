"""Verifies recorded calls as a provider would, by code that shares nothing with Weirgate's.

Reads a JSON object from standard input: how the calls were signed (`kind`), with what, and the calls as
they arrived. Prints `good` once for each call whose signature is right, and what it expected for others.
"""

import base64
import hashlib
import hmac
import json
import sys
from datetime import datetime, timezone
from urllib.parse import quote, unquote


def hmac_headers(secret, call):
    headers = call["headers"]
    digest = hashlib.sha256(call["body"]).hexdigest()
    text = "\n".join(
        [call["method"], call["target"], headers["x-at"], headers["x-nonce"], digest]
    )
    made = hmac.new(secret["secret"].encode(), text.encode(), hashlib.sha512).digest()
    return headers["x-signature"], base64.b64encode(made).decode()


def hmac_query(secret, call):
    query = call["target"].partition("?")[2]
    signed, _, given = query.rpartition("&signature=")
    made = hmac.new(secret["secret"].encode(), signed.encode(), hashlib.sha256).hexdigest()
    return given, made


def sigv4(secret, call):
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = call["headers"]
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    # The library signs at the present time, by whichever function of the clock it has.
    botocore.auth.get_current_datetime = lambda *_, **__: at
    keys = Credentials(
        secret["access_key_id"], secret["secret_access_key"], secret.get("session_token")
    )
    kind = botocore.auth.S3SigV4Auth if secret["service"] == "s3" else botocore.auth.SigV4Auth
    path, mark, query = call["target"].partition("?")
    if secret["service"] == "s3":
        # S3 signs the object's name encoded by its own rule, however it came; the library sends it so.
        path = quote(unquote(path), safe="/~")
    request = AWSRequest(
        method=call["method"],
        url=f"http://{headers['host']}{path}{mark}{query}",
        data=call["body"],
        headers={"X-Amz-Content-SHA256": headers["x-amz-content-sha256"]},
    )
    assert headers["x-amz-content-sha256"] == hashlib.sha256(call["body"]).hexdigest()
    kind(keys, secret["service"], secret["region"]).add_auth(request)
    assert request.headers["X-Amz-Date"] == headers["x-amz-date"], request.headers["X-Amz-Date"]
    assert request.headers.get("X-Amz-Security-Token") == headers.get("x-amz-security-token")
    return headers["authorization"], request.headers["Authorization"]


def main():
    given = json.load(sys.stdin)
    judge = {"hmac_headers": hmac_headers, "hmac_query": hmac_query, "sigv4": sigv4}[given["kind"]]
    for call in given["calls"]:
        call["body"] = base64.b64decode(call["body"])
        found, expected = judge(given["secret"], call)
        if hmac.compare_digest(unquote(found), expected):
            print("good")
        else:
            print(f"{call['method']} {call['target']}: {found} is not {expected}")


main()
