"""A relying party made with Authlib and Flask."""

import json
import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify

settings = json.loads(os.environ["RELYING_PARTY"])
app = Flask(__name__)
app.secret_key = os.urandom(32)
provider = OAuth(app).register(
    "sealpost",
    server_metadata_url=settings["issuer"] + "/.well-known/openid-configuration",
    client_id=settings["client_id"],
    client_secret=settings["client_secret"],
    client_kwargs={"scope": "openid email profile groups", "code_challenge_method": "S256"},
)


@app.get("/ready")
def ready():
    return {}


@app.get("/login")
def login():
    return provider.authorize_redirect(settings["origin"] + "/callback")


@app.get("/callback")
def callback():
    token = provider.authorize_access_token()
    return jsonify(claims=token["userinfo"], userinfo=provider.userinfo(), token_type=token["token_type"])


host, port = settings["listen"].split(":")
app.run(host, int(port))
