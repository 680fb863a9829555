"""The recipe of docs/integrations/code.md in what it leaves to its reader."""

import json
import os

from authlib.integrations.flask_client import OAuth  # of the recipe
from flask import Flask, jsonify

settings = json.loads(os.environ["RELYING_PARTY"])
secret = settings["client_secret"]
app = Flask(__name__)
app.secret_key = os.urandom(32)
exec(settings["recipe"])
person_of_recipe = app.view_functions["callback"]


def whole():
    claims = person_of_recipe().get_json()
    return jsonify(claims=claims, userinfo=provider.userinfo(), token_type=provider.token["token_type"])


app.view_functions["callback"] = whole


@app.get("/ready")
def ready():
    return {}


host, port = settings["listen"].split(":")
app.run(host, int(port))
