package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxNote       = 262144
	maxSignatures = 64
)

// checkpoint is the text of section 9.1.
type checkpoint struct {
	origin string
	size   uint64
	root   hash
}

func (c checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.origin, c.size, b64(c.root[:]))
}

func readCheckpoint(text string) (checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return checkpoint{}, errors.New("not the three lines of a checkpoint")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		return checkpoint{}, errors.New("not a size")
	}
	root, err := unB64(lines[2])
	if err != nil || len(root) != 32 {
		return checkpoint{}, errors.New("not a root")
	}
	c := checkpoint{lines[0], size, hash(root)}
	if c.text() != text {
		return checkpoint{}, errors.New("not in its one form")
	}
	return c, nil
}

// line is a signature line taken apart.
type line struct {
	name      string
	id        uint32
	signature []byte
}

func (l line) text() string { return "— " + l.name + " " + b64(join(u32(l.id), l.signature)) + "\n" }

// signedMessage is sections 9.2 and 14.1: what is signed, at a time where the type has one.
func signedMessage(v verifier, text string, at uint64) ([]byte, error) {
	switch v.algorithm.name {
	case typeEd25519.name:
		return []byte(text), nil
	case typeMLDSA65.name:
		return []byte(identifier + "\n" + v.name + "\n" + text), nil
	}
	if at > math.MaxInt64 {
		return nil, errors.New("the time is beyond 2^63-1")
	}
	c, err := readCheckpoint(text)
	if err != nil {
		return nil, err
	}
	if v.algorithm.name == typeCosigner.name {
		return []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)), nil
	}
	if len(v.name) > 255 || len(c.origin) > 255 {
		return nil, errors.New("a name is longer than 255 bytes")
	}
	return join([]byte("subtree/v1\n\x00"), []byte{byte(len(v.name))}, []byte(v.name), u64(at),
		[]byte{byte(len(c.origin))}, []byte(c.origin), u64(0), u64(c.size), c.root[:]), nil
}

func timed(a algorithm) bool { return a.name == typeCosigner.name || a.name == typeMLDSA44.name }

func (k key) line(text string, at uint64) line {
	signature := k.sign(must(signedMessage(k.verifier, text, at)))
	if timed(k.algorithm) {
		signature = join(u64(at), signature)
	}
	return line{k.name, k.id(), signature}
}

func (v verifier) checkLine(text string, signature []byte) (uint64, error) {
	var at uint64
	if timed(v.algorithm) {
		if len(signature) < 8 {
			return 0, errors.New("no time")
		}
		at, signature = binary.BigEndian.Uint64(signature), signature[8:]
	}
	message, err := signedMessage(v, text, at)
	if err != nil {
		return 0, err
	}
	if !v.verify(message, signature) {
		return 0, fmt.Errorf("the %s signature of %s does not verify", v.algorithm.name, v.name)
	}
	return at, nil
}

// signNote signs a text with each key.
func signNote(text string, at uint64, keys ...key) string {
	note := text + "\n"
	for _, k := range keys {
		note += k.line(text, at).text()
	}
	return note
}

// openNote is section 17.1, steps 1 to 3: every line of a known key verifies, and every known key has one.
func openNote(note []byte, known []verifier) (string, error) {
	if len(note) > maxNote {
		return "", errors.New("too long")
	}
	if !utf8.Valid(note) || bytes.ContainsFunc(note, func(c rune) bool { return c < 0x20 && c != '\n' }) {
		return "", errors.New("not UTF-8 text without control characters")
	}
	whole := string(note)
	blank := strings.LastIndex(whole, "\n\n")
	if blank < 0 || !strings.HasSuffix(whole[blank+2:], "\n") {
		return "", errors.New("not text, empty line, signature lines")
	}
	text := whole[:blank+1]
	lines := strings.Split(strings.TrimSuffix(whole[blank+2:], "\n"), "\n")
	if len(lines) > maxSignatures {
		return "", errors.New("too many signature lines")
	}
	found := map[string]bool{}
	for _, one := range lines {
		l, err := readLine(one)
		if err != nil {
			return "", err
		}
		for _, v := range known {
			if v.name == l.name && v.id() == l.id {
				if _, err := v.checkLine(text, l.signature); err != nil {
					return "", err
				}
				found[v.vkey()] = true
			}
		}
	}
	for _, v := range known {
		if !found[v.vkey()] {
			return "", fmt.Errorf("the %s line of %s is missing", v.algorithm.name, v.name)
		}
	}
	return text, nil
}

func readLine(text string) (line, error) {
	rest, isLine := strings.CutPrefix(text, "— ")
	name, encoded, isLine2 := strings.Cut(rest, " ")
	decoded, err := unB64(encoded)
	if !isLine || !isLine2 || err != nil || len(decoded) < 5 || !isKeyName(name) {
		return line{}, errors.New("a malformed signature line")
	}
	return line{name, binary.BigEndian.Uint32(decoded), decoded[4:]}, nil
}

// openCheckpoint is section 17.1, steps 1 to 4.
func openCheckpoint(note []byte, known []verifier) (checkpoint, error) {
	text, err := openNote(note, known)
	if err != nil {
		return checkpoint{}, err
	}
	c, err := readCheckpoint(text)
	if err != nil {
		return checkpoint{}, err
	}
	for _, v := range known {
		if v.name != c.origin {
			return checkpoint{}, errors.New("another origin")
		}
	}
	return c, nil
}
