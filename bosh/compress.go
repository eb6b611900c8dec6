package bosh

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"sync"
)

// coding is a content coding of HTTP (RFC 9110 §8.4.1).
type coding uint8

const (
	identity coding = iota
	gzipped
	deflated // the zlib format; many senders leave its wrapping out
)

// Values of Content-Encoding, by coding.
var codingNames = [...][]string{identity: nil, gzipped: {"gzip"}, deflated: {"deflate"}}

const (
	// Below this size a response is sent as it is: it fits into one packet either way.
	compressBytes = 1024
	// BOSH-010: XML seldom shrinks to less than a hundredth. What stays below freeBytes may.
	maxRatio  = 100
	freeBytes = 64 << 10
)

var (
	errTooLarge = errors.New("request body is too large")
	errCoding   = errors.New("request body has an unknown content coding")
)

// requestCoding reads Content-Encoding. Codings on top of each other are not accepted.
func requestCoding(values []string) (coding, error) {
	if len(values) == 0 {
		return identity, nil
	}
	if len(values) > 1 {
		return identity, errCoding
	}
	switch strings.ToLower(strings.TrimSpace(values[0])) {
	case "", "identity":
		return identity, nil
	case "gzip", "x-gzip": // RFC 9110 §8.4.1.3
		return gzipped, nil
	case "deflate":
		return deflated, nil
	}
	return identity, errCoding
}

// inflater decodes request bodies. Pooled; made at first use.
type inflater struct {
	src  bytes.Reader
	gzip *gzip.Reader
	zlib io.ReadCloser
	raw  io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// decompress appends what src decodes to, at most limit bytes and maxRatio times what there was (BOSH-009, BOSH-010).
func decompress(dst, src []byte, c coding, limit int) ([]byte, error) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	z.src.Reset(src)
	defer z.src.Reset(nil)
	r, err := z.open(src, c)
	if err != nil {
		return dst, err
	}
	limit = min(limit, max(freeBytes, maxRatio*len(src)))
	for {
		if len(dst) > limit {
			return dst, errTooLarge
		}
		if len(dst) == cap(dst) {
			dst = growBuffer(dst, limit+1)
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), limit+1)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			if len(dst) > limit {
				return dst, errTooLarge
			}
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func (z *inflater) open(src []byte, c coding) (r io.Reader, err error) {
	switch {
	case c == gzipped && z.gzip == nil:
		z.gzip, err = gzip.NewReader(&z.src)
		return z.gzip, err
	case c == gzipped:
		return z.gzip, z.gzip.Reset(&z.src)
	case !isZlib(src) && z.raw == nil:
		z.raw = flate.NewReader(&z.src)
		return z.raw, nil
	case !isZlib(src):
		return z.raw, z.raw.(flate.Resetter).Reset(&z.src, nil)
	case z.zlib == nil:
		z.zlib, err = zlib.NewReader(&z.src)
		return z.zlib, err
	}
	return z.zlib, z.zlib.(zlib.Resetter).Reset(&z.src, nil)
}

// isZlib reports whether a deflated body has the wrapping that RFC 9110 §8.4.1.2 wants (RFC 1950 §2.2).
func isZlib(b []byte) bool {
	return len(b) >= 2 && b[0]&0x0f == 8 && (uint(b[0])<<8|uint(b[1]))%31 == 0
}

// responseCoding chooses from Accept-Encoding (RFC 9110 §12.5.3). BOSH-008: never one that this request does not list.
func responseCoding(values []string) coding {
	const unlisted = -1
	gz, def, id, rest := unlisted, unlisted, unlisted, unlisted
	for _, v := range values {
		for v != "" {
			var member string
			member, v, _ = strings.Cut(v, ",")
			name, params, _ := strings.Cut(member, ";")
			q := quality(params)
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
				gz = q
			case strings.EqualFold(name, "deflate"):
				def = q
			case strings.EqualFold(name, "identity"):
				id = q
			case name == "*":
				rest = q
			}
		}
	}
	if gz == unlisted {
		gz = rest
	}
	if def == unlisted {
		def = rest
	}
	switch {
	case gz > 0 && gz >= def && gz >= id:
		return gzipped
	case def > 0 && def >= id:
		return deflated
	}
	return identity
}

// quality reads a weight in thousandths (RFC 9110 §12.4.2); 1000 if there is none, 0 if it cannot be read.
func quality(params string) int {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		return thousandths(strings.TrimSpace(value))
	}
	return 1000
}

func thousandths(s string) int {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0
	}
	q := 0
	for i := range 3 {
		q *= 10
		if i < len(fraction) {
			if fraction[i] < '0' || fraction[i] > '9' {
				return 0
			}
			q += int(fraction[i] - '0')
		}
	}
	return min(q+1000*int(whole[0]-'0'), 1000)
}

// deflater encodes responses. Pooled.
type deflater struct {
	out  sliceWriter
	gzip *gzip.Writer
	zlib *zlib.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	// The level is legal, so there is no error.
	d.gzip, _ = gzip.NewWriterLevel(&d.out, gzip.BestSpeed)
	d.zlib, _ = zlib.NewWriterLevel(&d.out, zlib.BestSpeed)
	return d
}}

// sliceWriter appends to a slice.
type sliceWriter []byte

func (w *sliceWriter) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// compress appends the encoded src to dst (BOSH-007).
func compress(dst, src []byte, c coding) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.out = dst
	var w io.WriteCloser = d.gzip
	if c == gzipped {
		d.gzip.Reset(&d.out)
	} else {
		d.zlib.Reset(&d.out)
		w = d.zlib
	}
	// sliceWriter has no errors.
	_, _ = w.Write(src)
	_ = w.Close()
	dst, d.out = d.out, nil
	return dst
}
