package bosh

import "testing"

// Covers: BOSH-008.
func TestAcceptEncoding(t *testing.T) {
	for value, want := range map[string]coding{
		"": identity, "gzip": gzipped, "GZIP": gzipped, "x-gzip": gzipped, "deflate": deflated, "deflate, gzip": gzipped,
		"gzip;q=0.5, deflate;q=0.8": deflated, "gzip;q=0": identity, "gzip; q=0.0": identity, "gzip;q=0.001": gzipped, "*": gzipped,
		"*;q=0": identity, "gzip;q=0, *": deflated, "identity": identity, "identity;q=1, gzip;q=0.5": identity,
		"identity;q=0.5, gzip": gzipped, "gzip;q=1.000": gzipped, "gzip;q=2": identity, "gzip;q=x": identity, "gzip;q=0.1234": identity,
		"gzip;level=1;q=0": identity, "br;q=1.0, gzip;q=0.8, *;q=0.1": gzipped, ",,gzip": gzipped, "gzipx": identity,
	} {
		if got := responseCoding([]string{value}); got != want {
			t.Errorf("%q: %d, want %d", value, got, want)
		}
	}
	if got := responseCoding([]string{"br", "deflate"}); got != deflated {
		t.Errorf("two fields: %d", got)
	}
	if got := responseCoding(nil); got != identity {
		t.Errorf("no field: %d", got)
	}
}
