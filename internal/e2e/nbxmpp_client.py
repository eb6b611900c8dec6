"""python3-nbxmpp over WebSocket: logs in, sends itself a message, expects it back."""
import sys

import gi

gi.require_version("Soup", "3.0")
from gi.repository import GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType
from nbxmpp.protocol import Message, Presence
from nbxmpp.structs import StanzaHandler

HELLO = "hello <&> \"q\" ' é ☃ 𝄞 ]]>"
url, domain, user, password = sys.argv[1:5]
loop = GLib.MainLoop()
got = []
client = Client()
client.set_domain(domain)
client.set_username(user)
client.set_password(password)
client.set_resource("nb")
client.set_custom_host(url, ConnectionProtocol.WEBSOCKET, ConnectionType.PLAIN)
client.set_connection_types([ConnectionType.PLAIN])
client.set_protocols([ConnectionProtocol.WEBSOCKET])


def connected(c, *_):
    c.send_stanza(Presence())
    c.send_stanza(Message(to=str(c.get_bound_jid()), body=HELLO, typ="chat"))


def message(_client, _stanza, properties):
    got.append(properties.body)
    client.disconnect()


client.subscribe("connected", connected)
client.subscribe("disconnected", lambda *_: loop.quit())
client.subscribe("connection-failed", lambda *_: loop.quit())
client.register_handler(StanzaHandler(name="message", callback=message))
client.connect()
GLib.timeout_add_seconds(40, loop.quit)
loop.run()
print("PASS" if got == [HELLO] else "FAIL %r" % got)
sys.exit(0 if got == [HELLO] else 1)
