//go:build e2e

package e2e

import (
	"context"
	"encoding/xml"
	"testing"

	"mellium.im/sasl"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/websocket"
)

// melliumClient is Mellium's WebSocket client: it splits large stanzas over frames and ends without a close frame.
func melliumClient(t *testing.T, s *server, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	dialer := websocket.Dialer{Origin: "http://localhost", InsecureNoTLS: true}
	conn, err := dialer.DialDirect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	addr := jid.MustParse(s.account(t) + "@" + s.domain)
	session, err := xmpp.NewSession(ctx, addr.Domain(), addr, conn, xmpp.Secure, websocket.Negotiator(
		func(*xmpp.Session, *xmpp.StreamConfig) xmpp.StreamConfig {
			return xmpp.StreamConfig{Features: []xmpp.StreamFeature{
				xmpp.SASL("", password, sasl.ScramSha256, sasl.ScramSha1, sasl.Plain), xmpp.BindResource(),
			}}
		}))
	if err != nil {
		t.Fatal(err)
	}
	const hello = "hello <&> \"q\" é ☃ 𝄞"
	got := make(chan string, 1)
	served := make(chan error, 1)
	go func() {
		served <- session.Serve(xmpp.HandlerFunc(func(r xmlstream.TokenReadEncoder, start *xml.StartElement) error {
			if start.Name.Local != "message" {
				return nil
			}
			var m struct {
				Body string `xml:"body"`
			}
			if err := xml.NewTokenDecoder(xmlstream.Wrap(xmlstream.Inner(r), *start)).Decode(&m); err != nil {
				return err
			}
			got <- m.Body
			return nil
		}))
	}()
	if err := session.Send(ctx, stanza.Presence{}.Wrap(nil)); err != nil {
		t.Fatal(err)
	}
	body := xmlstream.Wrap(xmlstream.Token(xml.CharData(hello)), xml.StartElement{Name: xml.Name{Local: "body"}})
	if err := session.Send(ctx, stanza.Message{To: session.LocalAddr(), Type: stanza.ChatMessage}.Wrap(body)); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-got:
		if text != hello {
			t.Errorf("got back %q", text)
		}
	case err := <-served:
		t.Fatalf("session ended: %v", err)
	case <-ctx.Done():
		t.Fatal("the message did not come back")
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
