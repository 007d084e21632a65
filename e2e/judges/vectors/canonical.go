package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxInteger is 2^53 - 1.
const maxInteger = 1<<53 - 1

type object = map[string]any

// integer is a whole number as it was read or is to be written.
type integer struct {
	negative  bool
	magnitude uint64
}

func number(n int64) integer {
	if n < 0 {
		return integer{true, uint64(-n)}
	}
	return integer{false, uint64(n)}
}

// canonical writes a value as section 2 says.
func canonical(value any) ([]byte, error) {
	var text strings.Builder
	err := writeValue(&text, value)
	return []byte(text.String()), err
}

func writeValue(text *strings.Builder, value any) error {
	switch value := value.(type) {
	case nil:
		text.WriteString("null")
	case bool:
		text.WriteString(strconv.FormatBool(value))
	case int:
		return writeValue(text, number(int64(value)))
	case int64:
		return writeValue(text, number(value))
	case uint64:
		return writeValue(text, integer{false, value})
	case integer:
		if value.magnitude > maxInteger {
			return fmt.Errorf("the number %d is beyond 2^53-1", value.magnitude)
		}
		if value.negative {
			text.WriteByte('-')
		}
		text.WriteString(strconv.FormatUint(value.magnitude, 10))
	case string:
		writeString(text, value)
	case []any:
		text.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				text.WriteByte(',')
			}
			if err := writeValue(text, item); err != nil {
				return err
			}
		}
		text.WriteByte(']')
	case object:
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		slices.SortFunc(keys, func(a, b string) int {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		})
		text.WriteByte('{')
		for i, key := range keys {
			if i > 0 {
				text.WriteByte(',')
			}
			writeString(text, key)
			text.WriteByte(':')
			if err := writeValue(text, value[key]); err != nil {
				return err
			}
		}
		text.WriteByte('}')
	default:
		return fmt.Errorf("%T is not JSON", value)
	}
	return nil
}

func writeString(text *strings.Builder, value string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`}
	text.WriteByte('"')
	for _, r := range value {
		switch escaped, is := short[r]; {
		case is:
			text.WriteString(escaped)
		case r < 0x20:
			fmt.Fprintf(text, `\u%04x`, r)
		default:
			text.WriteRune(r)
		}
	}
	text.WriteByte('"')
}

type canonicalVector struct {
	Name      string `json:"name"`
	JSON      string `json:"json"`
	Canonical string `json:"canonical,omitempty"`
	Refused   string `json:"refused,omitempty"`
	Strict    bool   `json:"strict"`
}

// canonicalFile: texts, what they are in canonical form, and texts that have none or that a strict reader refuses.
func canonicalFile() ([]file, error) {
	good := []canonicalVector{
		{Name: "keys are sorted at every level", JSON: `{"b":[{"z":1,"a":null}],"a":{"y":true,"x":"s"}}`},
		{Name: "white space goes", JSON: " { \"a\" :\t[ 1 ,\n2 ]\r} "},
		{Name: "keys are sorted by UTF-16 code units, not by code points", JSON: "{\"\ufb33\":1,\"\U0001f600\":2,\"a\":3,\"\u20ac\":4}"},
		{Name: "short escapes, and \\u00xx in lower case", JSON: `"\b\t\n\f\r\"\\\u0000\u0001\u001f\u000B"`},
		{Name: "nothing else is escaped", JSON: `"\/\u007f\u00e9\u2028\u2029\ud83d\ude00<>&"`},
		{Name: "the largest and the smallest integer", JSON: `[9007199254740991,-9007199254740991,0,-1]`},
		{Name: "empty containers", JSON: `{"a":{},"b":[],"":""}`},
		{Name: "127 levels", JSON: strings.Repeat("[", 127) + strings.Repeat("]", 127)},
		{Name: "escapes in keys are resolved before sorting", JSON: `{"\u0062":1,"a":2}`},
	}
	for i := range good {
		value, err := strict([]byte(good[i].JSON))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", good[i].Name, err)
		}
		text, err := canonical(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", good[i].Name, err)
		}
		good[i].Canonical, good[i].Strict = string(text), true
	}
	refused := []canonicalVector{
		{Name: "a key twice", JSON: `{"a":1,"a":1}`},
		{Name: "a key twice, once escaped", JSON: `{"a":1,"\u0061":2}`},
		{Name: "a key twice, further down", JSON: `{"x":{"a":1,"b":2,"a":3}}`},
		{Name: "a fraction", JSON: `1.5`},
		{Name: "a fraction that is whole", JSON: `1.0`},
		{Name: "an exponent", JSON: `1e3`},
		{Name: "minus zero", JSON: `-0`},
		{Name: "a leading zero", JSON: `01`},
		{Name: "beyond 64 bits", JSON: `18446744073709551616`},
		{Name: "two documents", JSON: `1 2`},
		{Name: "nothing", JSON: ``},
		{Name: "cut off", JSON: `{"a":`},
		{Name: "a lone surrogate", JSON: `"\ud800"`},
		{Name: "a lone low surrogate", JSON: `"\udc00"`},
		{Name: "a control character in a string", JSON: "\"\n\""},
		{Name: "a byte order mark", JSON: "\ufeff1"},
		{Name: "a trailing comma", JSON: `[1,]`},
		{Name: "128 levels", JSON: strings.Repeat("[", 128) + strings.Repeat("]", 128)},
	}
	for i := range refused {
		_, err := strict([]byte(refused[i].JSON))
		if err == nil {
			return nil, fmt.Errorf("%s was read", refused[i].Name)
		}
		refused[i].Refused = err.Error()
	}
	beyond := []canonicalVector{
		{Name: "2^53: a strict reader takes it, the canonical form does not", JSON: `9007199254740992`},
		{Name: "-2^53: likewise", JSON: `-9007199254740992`},
		{Name: "2^64 - 1, inside", JSON: `{"a":[18446744073709551615]}`},
	}
	for i := range beyond {
		value, err := strict([]byte(beyond[i].JSON))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", beyond[i].Name, err)
		}
		if _, err = canonical(value); err == nil {
			return nil, errors.New("a number beyond 2^53-1 was written")
		}
		beyond[i].Refused, beyond[i].Strict = err.Error(), true
	}
	about := "Section 2. json: a text; strict: whether a strict reader takes it; canonical: its one form, absent where it has none (refused says why, for people)."
	return []file{{"canonical.json", vectors{about, slices.Concat(good, refused, beyond)}}}, nil
}
