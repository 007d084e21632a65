package main

import (
	"fmt"
	"strings"
)

type lineVector struct {
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"key_id"`
	Time      uint64 `json:"time,omitempty"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
}

type checkpointVector struct {
	Name  string       `json:"name"`
	Note  string       `json:"note"`
	Text  string       `json:"text"`
	Size  int          `json:"size"`
	Root  string       `json:"root"`
	Keys  []string     `json:"keys"`
	Lines []lineVector `json:"lines"`
}

type refusedNote struct {
	Name   string   `json:"name"`
	Note   string   `json:"note"`
	Keys   []string `json:"keys"`
	Reason string   `json:"reason"`
}

func checkpointFiles(s *story) ([]file, error) {
	var good []checkpointVector
	for _, c := range s.checkpoints {
		point := s.checkpoint(c.size)
		vector := checkpointVector{c.name, c.note, point.text(), c.size, hexHash(point.root), vkeysOf(c.keys), nil}
		for _, k := range c.keys {
			at := uint64(0)
			if timed(k.algorithm) {
				at = signedAt + uint64(c.size)
			}
			l := k.line(point.text(), signedAt+uint64(c.size))
			message := must(signedMessage(k.verifier, point.text(), at))
			vector.Lines = append(vector.Lines, lineVector{k.algorithm.name, fmt.Sprintf("%08x", k.id()), at, hexOf(message), hexOf(l.signature)})
		}
		good = append(good, vector)
	}
	reordered := s.at(5)
	text := s.checkpoint(5).text()
	lines := strings.SplitAfter(strings.TrimPrefix(reordered.note, text+"\n"), "\n")
	stranger := newKey("stranger.example", typeEd25519, fill(9)).line(text, 0).text()
	namesake := newKey(origin, typeEd25519, fill(9)).line(text, 0).text()
	note := text + "\n" + lines[2] + stranger + lines[1] + namesake + lines[0]
	if _, err := openCheckpoint([]byte(note), verifiersOf(reordered.keys)); err != nil {
		return nil, err
	}
	good = append(good, checkpointVector{"other order, a stranger's line, an unknown key of the same name", note, text, 5, hexHash(s.checkpoint(5).root), vkeysOf(reordered.keys), []lineVector{}})

	refused, err := refusedCheckpoints(s)
	if err != nil {
		return nil, err
	}
	return []file{
		{"checkpoints.json", vectors{"Section 9. The story's (story.json). keys: the keys in force, each of which must have a line; lines: message and signature (with its time where the type has one) in hex, key by key.", good}},
		{"checkpoints-refused.json", vectors{"Section 17.1, steps 1 to 4, with these keys known. reason: for people.", refused}},
	}, nil
}

func refusedCheckpoints(s *story) ([]refusedNote, error) {
	c := s.at(5)
	point := s.checkpoint(5)
	text := point.text()
	ed, pq, id := c.keys[0], c.keys[1], c.keys[2]
	at := uint64(signedAt + 5)
	lines := []line{ed.line(text, at), pq.line(text, at), id.line(text, at)}
	noteOf := func(text string, lines ...line) string {
		note := text + "\n"
		for _, l := range lines {
			note += l.text()
		}
		return note
	}
	flipped := func(l line, i int) line {
		signature := append([]byte{}, l.signature...)
		signature[i] ^= 1
		return line{l.name, l.id, signature}
	}
	signed := func(text string) string { return signNote(text, at, c.keys...) }
	// What is no checkpoint is signed by the two keys that can, and only those are known: nothing but its form is wrong.
	signAnything := func(text string) string { return noteOf(text, ed.line(text, at), id.line(text, at)) }
	two := []key{ed, id}
	root := b64(point.root[:])
	unprefixed := line{id.name, id.id(), id.sign([]byte(text))}
	cosignature := line{pq.name, pq.id(), join(u64(at), pq.sign([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text))))}
	untimed := line{pq.name, pq.id(), pq.sign([]byte(text))}
	cases := []refusedNote{
		{Name: "a flipped bit in the Ed25519 signature", Note: noteOf(text, flipped(lines[0], 63), lines[1], lines[2])},
		{Name: "a flipped bit in the ML-DSA-44 signature", Note: noteOf(text, lines[0], flipped(lines[1], 2000), lines[2])},
		{Name: "a flipped bit in the time of the ML-DSA-44 line", Note: noteOf(text, lines[0], flipped(lines[1], 7), lines[2])},
		{Name: "a flipped bit in the ML-DSA-65 signature", Note: noteOf(text, lines[0], lines[1], flipped(lines[2], 3000))},
		{Name: "no Ed25519 line", Note: noteOf(text, lines[1], lines[2])},
		{Name: "no ML-DSA-44 line", Note: noteOf(text, lines[0], lines[2])},
		{Name: "no ML-DSA-65 line", Note: noteOf(text, lines[0], lines[1])},
		{Name: "another key id makes a line unknown, so that one is missing", Note: noteOf(text, lines[0], line{pq.name, pq.id() ^ 1, lines[1].signature}, lines[2])},
		{Name: "a good line and a bad one of the same key", Note: noteOf(text, lines[0], lines[1], lines[2], flipped(lines[0], 0))},
		{Name: "the ML-DSA-65 key signed the text without its prefix", Note: noteOf(text, lines[0], lines[1], unprefixed)},
		{Name: "the ML-DSA-44 key signed the message of type 04", Note: noteOf(text, lines[0], cosignature, lines[2])},
		{Name: "the ML-DSA-44 key signed the text, without a time", Note: noteOf(text, lines[0], untimed, lines[2])},
		{Name: "the lines of another size", Note: noteOf(s.checkpoint(6).text(), lines...)},
		{Name: "an extension line", Note: signAnything(text + "extension\n")},
		{Name: "another origin", Note: signed(strings.Replace(text, "example.org", "example.net", 1))},
		{Name: "a leading zero in the size", Note: signAnything(strings.Replace(text, "\n5\n", "\n05\n", 1))},
		{Name: "a sign before the size", Note: signAnything(strings.Replace(text, "\n5\n", "\n+5\n", 1))},
		{Name: "a size beyond 64 bits", Note: signAnything(strings.Replace(text, "\n5\n", "\n18446744073709551616\n", 1))},
		{Name: "a root of 31 bytes", Note: signAnything(strings.Replace(text, root, b64(point.root[:31]), 1))},
		{Name: "a root without padding", Note: signAnything(strings.Replace(text, "=\n", "\n", 1))},
		{Name: "an empty origin", Note: signAnything(strings.Replace(text, origin, "", 1))},
		{Name: "two lines", Note: signAnything(origin + "\n5\n")},
		{Name: "no signatures", Note: text + "\n"},
		{Name: "no empty line", Note: text},
		{Name: "the last line is not ended", Note: strings.TrimSuffix(c.note, "\n")},
		{Name: "CR LF", Note: strings.ReplaceAll(c.note, "\n", "\r\n")},
		{Name: "a hyphen instead of the dash", Note: strings.Replace(c.note, "—", "-", 1)},
		{Name: "two spaces", Note: strings.Replace(c.note, "— ", "—  ", 1)},
		{Name: "a line of strange form", Note: c.note + "— stranger.example !!!!\n"},
		{Name: "a key id without a signature", Note: c.note + "— stranger.example AAAAAA==\n"},
		{Name: "unused bits that are not zero", Note: c.note + "— stranger.example AAAAAAB=\n"},
		{Name: "65 lines", Note: c.note + strings.Repeat("— stranger.example AAAAAAA=\n", 62)},
		{Name: "nothing", Note: ""},
	}
	for i := range cases {
		known := c.keys
		if strings.Count(cases[i].Note, "— ") == 2 && !strings.HasPrefix(cases[i].Name, "no ") {
			known = two
		}
		cases[i].Keys = vkeysOf(known)
		_, err := openCheckpoint([]byte(cases[i].Note), verifiersOf(known))
		if err == nil {
			return nil, fmt.Errorf("%s: was opened", cases[i].Name)
		}
		cases[i].Reason = err.Error()
	}
	return cases, nil
}
