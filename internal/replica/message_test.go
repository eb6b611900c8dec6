package replica

import (
	"net/http"
	"reflect"
	"testing"
)

func sampleMessage() *message {
	return &message{
		to: "incarnation", insist: true, secure: true, peer: "[2001:db8::1]:4711", local: "192.0.2.9:443", host: "chat.example",
		certificate: []byte{1, 2, 3}, method: http.MethodPost, path: "/http-bind/a/b", rawPath: "/http-bind/a%2Fb", query: "x=1",
		header: http.Header{"Content-Type": {"text/xml"}, "Vary": {"a", "b"}, "Empty": {""}}, body: []byte("<body/>"),
	}
}

func sampleAnswer() *answer {
	return &answer{held: 1500, status: http.StatusTeapot, header: http.Header{"Vary": {"a", "b"}}, body: []byte("<body/>")}
}

// What one side has put together the other takes apart again, and what is cut off anywhere before the body is malformed.
func TestMessages(t *testing.T) {
	m, a := sampleMessage(), sampleAnswer()
	if got, err := parseMessage(m.append(nil)); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := parseAnswer(a.append(nil)); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, says := range []says{saysNotMine, saysStranger, saysFenced, saysAborted, saysAborted + 1} {
		if got, err := parseAnswer((&answer{says: says}).append(nil)); err != nil || got.says != says {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	whole := m.append(nil)
	for n := range len(whole) - len(m.body) {
		if _, err := parseMessage(whole[:n]); err == nil {
			t.Errorf("a message of %d bytes out of %d is accepted", n, len(whole))
		}
	}
	whole = a.append(nil)
	for n := range len(whole) - len(a.body) {
		if _, err := parseAnswer(whole[:n]); err == nil {
			t.Errorf("an answer of %d bytes out of %d is accepted", n, len(whole))
		}
	}
	if _, err := parseAnswer((&answer{status: http.StatusEarlyHints}).append(nil)); err == nil {
		t.Error("an answer without a final status is accepted")
	}
}

// Whatever comes is taken or refused, and what is taken can be said again.
func FuzzMessages(f *testing.F) {
	f.Add(sampleMessage().append(nil))
	f.Add(sampleAnswer().append(nil))
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMessage(b); err == nil {
			m.inbound(t.Context())
			if again, err := parseMessage(m.append(nil)); err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
		if a, err := parseAnswer(b); err == nil {
			if again, err := parseAnswer(a.append(nil)); err != nil || !reflect.DeepEqual(again, a) {
				t.Errorf("%+v became %+v, %v", a, again, err)
			}
		}
	})
}
