package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const maxDepth = 127

var integerForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)`)

// strict reads one JSON document as section 2 says a strict reader does.
func strict(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	r := &reader{rest: string(data)}
	value, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.space(); r.rest != "" {
		return nil, errors.New("bytes after the document")
	}
	return value, nil
}

type reader struct{ rest string }

func (r *reader) space() {
	for r.rest != "" && (r.rest[0] == ' ' || r.rest[0] == '\t' || r.rest[0] == '\n' || r.rest[0] == '\r') {
		r.rest = r.rest[1:]
	}
}

// take takes a token if it is next.
func (r *reader) take(token string) bool {
	if len(r.rest) < len(token) || r.rest[:len(token)] != token {
		return false
	}
	r.rest = r.rest[len(token):]
	return true
}

func (r *reader) value(depth int) (any, error) {
	r.space()
	switch {
	case r.rest == "":
		return nil, errors.New("the document ends too early")
	case r.take("null"):
		return nil, nil
	case r.take("true"):
		return true, nil
	case r.take("false"):
		return false, nil
	case r.rest[0] == '"':
		return r.text()
	case r.rest[0] == '[' || r.rest[0] == '{':
		if depth++; depth > maxDepth {
			return nil, fmt.Errorf("more than %d levels", maxDepth)
		}
		if r.take("[") {
			return r.array(depth)
		}
		return r.object(depth)
	default:
		return r.number()
	}
}

func (r *reader) array(depth int) (any, error) {
	items := []any{}
	if r.space(); r.take("]") {
		return items, nil
	}
	for {
		item, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if r.space(); r.take("]") {
			return items, nil
		}
		if !r.take(",") {
			return nil, errors.New("expected , or ]")
		}
	}
}

func (r *reader) object(depth int) (any, error) {
	r.take("{")
	fields := object{}
	if r.space(); r.take("}") {
		return fields, nil
	}
	for {
		r.space()
		key, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("the key %q appears twice", key)
		}
		if r.space(); !r.take(":") {
			return nil, errors.New("expected :")
		}
		if fields[key], err = r.value(depth); err != nil {
			return nil, err
		}
		if r.space(); r.take("}") {
			return fields, nil
		}
		if !r.take(",") {
			return nil, errors.New("expected , or }")
		}
	}
}

func (r *reader) number() (any, error) {
	digits := integerForm.FindString(r.rest)
	if digits == "" {
		return nil, errors.New("not a JSON value")
	}
	r.rest = r.rest[len(digits):]
	if r.rest != "" && (r.rest[0] == '.' || r.rest[0] == 'e' || r.rest[0] == 'E') {
		return nil, errors.New("not an integer")
	}
	if digits == "-0" {
		return nil, errors.New("minus zero")
	}
	if digits[0] == '-' {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return nil, errors.New("beyond 64 bits")
		}
		return integer{true, uint64(-n)}, nil
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return nil, errors.New("beyond 64 bits")
	}
	return integer{false, n}, nil
}

func (r *reader) text() (string, error) {
	if !r.take(`"`) {
		return "", errors.New("expected a string")
	}
	var text []rune
	for {
		if r.rest == "" {
			return "", errors.New("a string without end")
		}
		if r.take(`"`) {
			return string(text), nil
		}
		if r.take(`\`) {
			c, err := r.escape()
			if err != nil {
				return "", err
			}
			text = append(text, c)
			continue
		}
		c, size := utf8.DecodeRuneInString(r.rest)
		if c < 0x20 {
			return "", errors.New("a control character in a string")
		}
		text, r.rest = append(text, c), r.rest[size:]
	}
}

func (r *reader) escape() (rune, error) {
	for token, c := range map[string]rune{`"`: '"', `\`: '\\', "/": '/', "b": '\b', "t": '\t', "n": '\n', "f": '\f', "r": '\r'} {
		if r.take(token) {
			return c, nil
		}
	}
	first, err := r.unit()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	if !r.take(`\`) {
		return 0, errors.New("a lone surrogate")
	}
	second, err := r.unit()
	if err != nil {
		return 0, err
	}
	c := utf16.DecodeRune(first, second)
	if c == utf8.RuneError {
		return 0, errors.New("a lone surrogate")
	}
	return c, nil
}

// unit reads uXXXX.
func (r *reader) unit() (rune, error) {
	if !r.take("u") || len(r.rest) < 4 {
		return 0, errors.New("not an escape")
	}
	n, err := strconv.ParseUint(r.rest[:4], 16, 16)
	if err != nil {
		return 0, errors.New("not an escape")
	}
	r.rest = r.rest[4:]
	return rune(n), nil
}
