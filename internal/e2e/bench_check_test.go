//go:build e2e

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchReport: a subject that fails is in the report with its reason, and keeps no other from being there.
func TestBenchReport(t *testing.T) {
	broken := benchFigures{}
	broken.failed(errors.New("idle: no | luck\n---\nand a log\n"))
	half := benchFigures{P50Micros: 300}
	half.count(chatResult{Lost: 2})
	r := benchReport{Rounds: 2, Growth: []benchGrowth{{Name: nameOf("bosh"), Points: []benchPoint{
		{Sessions: 200, Talking: 200, CPUMicros: 10, KiBPerSession: 20},
		{Sessions: 1000, Talking: 1000, CPUMicros: 11, KiBPerSession: 21},
		{Sessions: 4000, Talking: 4000, Failure: "chat: refused"},
	}}}}
	r.take([]benchRow{
		{Name: nameRelay, Rounds: []benchFigures{{PerSecond: 100, CPUMicros: 5, P50Micros: 200}, {PerSecond: 200, CPUMicros: 5, P50Micros: 200}}},
		{Name: nameOf("websocket"), Rounds: []benchFigures{{PerSecond: 80, CPUMicros: 8, P50Micros: 210}, half}},
		{Name: "<other> & co", Rounds: []benchFigures{broken, broken}},
	})
	text := r.text()
	for _, want := range []string{
		"| TCP relay | 200 | 1.00 |", "| stanzagate, websocket | 80 | 0.80 |", "| <other> & co | failed: round 1: idle: no / luck: and a log |",
		"| WebSocket, messages/s, × | ≥ 0.75 | 0.80 |  | yes |", "| WebSocket, p50, × | ≤ 1.1 | 1.50 |  | no |", "| BOSH, messages/s, × | ≥ 0.3 | – |  | not measured |",
		"| WebSocket, CPU µs per message | ≤ 5 | 8.00 | 4.16 | no; scaled: yes |",
		"| stanzagate, bosh | 4000 | failed: chat: refused |", "- stanzagate, websocket: failed: round 2: 2 messages lost",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := len(r.failures()); n != 3 {
		t.Errorf("%d failures: %q", n, r.failures())
	}
	out := filepath.Join(t.TempDir(), "bench")
	if err := r.write(out); err != nil {
		t.Fatal(err)
	}
	var back benchReport
	if b, err := os.ReadFile(out + ".json"); err != nil || json.Unmarshal(b, &back) != nil || back.Rows[2].Failure != "round 1: idle: no / luck: and a log" {
		t.Errorf("%v: %s", err, b)
	}
	svg, err := os.Open(out + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	circles := 0
	for d := xml.NewDecoder(svg); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if el, ok := tok.(xml.StartElement); ok && el.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 5 { // two points in each of two panels, and the legend
		t.Errorf("%d circles", circles)
	}
}

func TestGrowthSizes(t *testing.T) {
	if got := growthSizes(t, "200, 1000"); len(got) != 2 || got[0] != 200 || got[1] != 1000 {
		t.Errorf("%v", got)
	}
	for most, want := range map[float64][2]float64{9800: {2000, 10000}, 3.2: {1, 4}, 0: {1, 1}, 60: {10, 60}} {
		if step, end := scale(most); step != want[0] || end != want[1] {
			t.Errorf("%v: %v to %v, want %v", most, step, end, want)
		}
	}
}
