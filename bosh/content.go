package bosh

import "strings"

// XEP-0124 §7.1: `content` names the Content-Type of all responses of a session. It is chosen by whoever makes the browser
// send the request, so only types that no browser executes are taken (BOSH-047, AMB-4); anything else means the default.
// A value is never copied into a header: it selects one of those below.

const defaultContent = "text/xml; charset=utf-8"

var (
	contentTypes = map[string][]string{
		defaultContent:                   {defaultContent},
		"text/xml":                       {"text/xml"},
		"application/xml; charset=utf-8": {"application/xml; charset=utf-8"},
		"application/xml":                {"application/xml"},
		"text/plain; charset=utf-8":      {"text/plain; charset=utf-8"},
		"text/plain":                     {"text/plain"},
	}
	defaultContentType = contentTypes[defaultContent]
	scriptContentType  = []string{"text/javascript; charset=utf-8"}
)

// contentType returns the acceptable type that s names, "" for none.
func contentType(s string) string {
	if contentTypes[s] != nil {
		return s
	}
	media, parameter, _ := strings.Cut(strings.ToLower(s), ";")
	media, parameter = strings.TrimSpace(media), strings.TrimSpace(parameter)
	if name, value, ok := strings.Cut(parameter, "="); ok && name == "charset" && strings.Trim(value, `"`) == "utf-8" {
		media += "; charset=utf-8"
	} else if parameter != "" {
		return ""
	}
	if contentTypes[media] == nil {
		return ""
	}
	return media
}
