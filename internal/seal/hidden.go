package seal

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden makes a type that embeds it print as a mask, whichever way it is printed.
type hidden struct{}

const mask = "xxxxx"

// Format implements fmt.Formatter, for all verbs.
func (hidden) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, mask) } // what takes no text gets none

// String implements fmt.Stringer.
func (hidden) String() string { return mask }

// LogValue implements slog.LogValuer.
func (hidden) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText implements encoding.TextMarshaler, for JSON too.
func (hidden) MarshalText() ([]byte, error) { return []byte(mask), nil }
