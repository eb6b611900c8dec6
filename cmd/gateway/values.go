package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"stanzagate/internal/quota"
)

// list is a setting with several values.
type list []string

// reader turns the text of a setting into its value; its error says what would be right.
type reader func(text string, target reflect.Value) error

// mappers makes kong read all values our way, so that every error names key, value and remedy.
func mappers() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, o := range []kong.Option{
			kong.TypeMapper(reflect.TypeFor[string](), scalar{read: readString}),
			kong.TypeMapper(reflect.TypeFor[int](), scalar{read: readInt}),
			kong.TypeMapper(reflect.TypeFor[bool](), boolean{}),
			kong.TypeMapper(reflect.TypeFor[time.Duration](), scalar{read: readDuration}),
			kong.TypeMapper(reflect.TypeFor[quota.Rate](), scalar{read: readRate}),
			kong.TypeMapper(reflect.TypeFor[list](), kong.MapperFunc(readList)),
		} {
			if err := o.Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

type scalar struct{ read reader }

func (s scalar) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto(ctx.Value.Name, &text); err != nil {
		return &settingError{key: ctx.Value.Name, want: "has no value"}
	}
	if err := s.read(text, target); err != nil {
		return &settingError{key: ctx.Value.Name, value: text, want: err.Error()}
	}
	return nil
}

// boolean is a flag that may stand without a value.
type boolean struct{}

func (boolean) IsBool() bool { return true }

func (boolean) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetBool(true)
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	switch text {
	case "true", "false":
		target.SetBool(text == "true")
		return nil
	}
	return &settingError{key: ctx.Value.Name, value: text, want: "want true or false"}
}

func readString(text string, target reflect.Value) error {
	target.SetString(text)
	return nil
}

func readInt(text string, target reflect.Value) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return fmt.Errorf("want a whole number up to 2147483647, as in 262144")
	}
	target.SetInt(n)
	return nil
}

func readDuration(text string, target reflect.Value) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("want a duration with its unit, as in 30s or 2m")
	}
	target.SetInt(int64(d))
	return nil
}

func readRate(text string, target reflect.Value) error {
	r, err := quota.ParseRate(text)
	if err != nil {
		return fmt.Errorf(`want a count per s, m or h, as in 600/m, or 0 for no limit`)
	}
	target.Set(reflect.ValueOf(r))
	return nil
}

// readList takes a YAML list as it is and splits a string at commas. Repeated flags add up.
func readList(ctx *kong.DecodeContext, target reflect.Value) error {
	var values list
	switch v := ctx.Scan.Pop().Value.(type) {
	case []string:
		values = v
	case string:
		switch {
		case v == "":
		case ctx.Value.Name == "redis":
			values = addresses(v)
		default:
			values = strings.Split(v, ",")
		}
	}
	for i, v := range values {
		if values[i] = strings.TrimSpace(v); values[i] == "" {
			return &settingError{key: ctx.Value.Name, value: strings.Join(values, ","), want: "has an empty member; remove it"}
		}
	}
	target.Set(reflect.AppendSlice(target, reflect.ValueOf(values)))
	return nil
}

// addresses splits the setting `redis` at its commas, but for those inside of a URL: between the hosts of Sentinels or a
// cluster, and in a password.
func addresses(text string) list {
	var all list
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if last := len(all) - 1; last >= 0 && part != "" && !strings.Contains(part, "://") && strings.Contains(all[last], "://") {
			all[last] += "," + part
			continue
		}
		all = append(all, part)
	}
	var split list
	for _, a := range all {
		scheme, rest, isURL := strings.Cut(a, "://")
		if !isURL || strings.Contains(scheme, "+") {
			split = append(split, a)
			continue
		}
		at := strings.IndexByte(rest, '@') + 1
		first, others, several := strings.Cut(rest[at:], ",")
		split = append(split, scheme+"://"+rest[:at]+first)
		if several { // redis://host,host stands for two addresses
			split = append(split, strings.Split(others, ",")...)
		}
	}
	return split
}
