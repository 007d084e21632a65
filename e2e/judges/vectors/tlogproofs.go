package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const proofHeader = "c2sp.org/tlog-proof@v1\n"

type tlogProofVector struct {
	Name   string   `json:"name"`
	Proof  string   `json:"proof"`
	Keys   []string `json:"keys"`
	Index  int      `json:"index"`
	Size   int      `json:"size"`
	Entry  string   `json:"entry"`
	Reason string   `json:"reason,omitempty"`
}

func tlogProof(extra []byte, index string, path []hash, note string) string {
	text := proofHeader
	if extra != nil {
		text += "extra " + b64(extra) + "\n"
	}
	text += "index " + index + "\n"
	for _, h := range path {
		text += b64(h[:]) + "\n"
	}
	return text + "\n" + note
}

// checkTlogProof is section 17.4, and gives the entry.
func checkTlogProof(text string, known []verifier) (entry, uint64, error) {
	rest, isProof := strings.CutPrefix(text, proofHeader)
	if !isProof || len(text) > 524288 {
		return entry{}, 0, errors.New("not a proof")
	}
	head, note, isWhole := strings.Cut(rest, "\n\n")
	if !isWhole {
		return entry{}, 0, errors.New("no empty line")
	}
	lines := strings.Split(head, "\n")
	extra, hasExtra := strings.CutPrefix(lines[0], "extra ")
	if !hasExtra || len(lines) < 2 || len(lines) > 2+64 {
		return entry{}, 0, errors.New("no entry, or no index, or too long a path")
	}
	bytes, err := unB64(extra)
	digits, hasIndex := strings.CutPrefix(lines[1], "index ")
	index, indexErr := strconv.ParseUint(digits, 10, 64)
	if err != nil || !hasIndex || indexErr != nil || strconv.FormatUint(index, 10) != digits || strings.Contains(extra, "\r") {
		return entry{}, 0, errors.New("a malformed line")
	}
	var path []hash
	for _, line := range lines[2:] {
		h, err := unB64(line)
		if err != nil || len(h) != 32 || strings.Contains(line, "\r") {
			return entry{}, 0, errors.New("a malformed hash")
		}
		path = append(path, hash(h))
	}
	c, err := openCheckpoint([]byte(note), known)
	if err != nil {
		return entry{}, 0, err
	}
	if err := sha256Tree.checkInclusion(h256([]byte{0}, bytes), index, c.size, path, c.root); err != nil {
		return entry{}, 0, err
	}
	e, err := readEntry(bytes)
	return e, index, err
}

func tlogProofFiles(s *story) ([]file, error) {
	var good []tlogProofVector
	for _, c := range s.checkpoints {
		for i := range c.size {
			if c.size > 5 && i != s.transfer.index && i != c.size-1 {
				continue
			}
			e := s.log.entries[i]
			path := sha256Tree.inclusion(i, s.log.leaves["sha256"][:c.size])
			proof := tlogProof(e.text, fmt.Sprint(i), path, c.note)
			found, index, err := checkTlogProof(proof, verifiersOf(c.keys))
			if err != nil || index != uint64(i) || string(found.text) != string(e.text) {
				return nil, fmt.Errorf("proof of %d in %d: %w", i, c.size, err)
			}
			good = append(good, tlogProofVector{Name: e.kind, Proof: proof, Keys: vkeysOf(c.keys), Index: i, Size: c.size, Entry: string(e.text)})
		}
	}
	refused, err := refusedTlogProofs(s)
	if err != nil {
		return nil, err
	}
	return []file{
		{"tlog-proofs.json", vectors{"Section 12.2. Of the story's entries. keys: those in force.", good}},
		{"tlog-proofs-refused.json", vectors{"Section 17.4, steps 1 to 4. reason: for people.", refused}},
	}, nil
}

func refusedTlogProofs(s *story) ([]refusedNote, error) {
	c := s.at(5)
	leaves := s.log.leaves["sha256"][:5]
	e := s.log.entries[2].text
	path := sha256Tree.inclusion(2, leaves)
	good := tlogProof(e, "2", path, c.note)
	// An inner node of the tree has a preimage too; as an entry it is none, and its path is too short.
	inner := join([]byte{}, leaves[2][:], leaves[3][:])
	cases := []refusedNote{
		{Name: "another first line", Note: strings.Replace(good, "@v1", "@v2", 1)},
		{Name: "no entry", Note: tlogProof(nil, "2", path, c.note)},
		{Name: "another entry", Note: tlogProof(s.log.entries[3].text, "2", path, c.note)},
		{Name: "another index", Note: tlogProof(e, "3", path, c.note)},
		{Name: "an index with a leading zero", Note: tlogProof(e, "02", path, c.note)},
		{Name: "an index with a sign", Note: tlogProof(e, "+2", path, c.note)},
		{Name: "an index beyond the size", Note: tlogProof(e, "7", path, c.note)},
		{Name: "no index", Note: strings.Replace(good, "index 2\n", "", 1)},
		{Name: "index before extra", Note: proofHeader + "index 2\nextra " + b64(e) + "\n" + strings.SplitN(good, "index 2\n", 2)[1]},
		{Name: "a hash missing", Note: tlogProof(e, "2", path[1:], c.note)},
		{Name: "a hash too many", Note: tlogProof(e, "2", append(path[:len(path):len(path)], path[0]), c.note)},
		{Name: "hashes exchanged", Note: tlogProof(e, "2", []hash{path[1], path[0], path[2]}, c.note)},
		{Name: "an inner node's preimage as entry", Note: tlogProof(inner, "2", path[1:], c.note)},
		{Name: "65 hashes", Note: tlogProof(e, "2", make([]hash, 65), c.note)},
		{Name: "a hash of 31 bytes", Note: strings.Replace(good, b64(path[0][:]), b64(path[0][:31]), 1)},
		{Name: "a checkpoint of another size", Note: tlogProof(e, "2", path, s.at(6).note)},
		{Name: "a checkpoint without one of its lines", Note: tlogProof(e, "2", path, signNote(s.checkpoint(5).text(), signedAt, c.keys[:2]...))},
		{Name: "no checkpoint", Note: tlogProof(e, "2", path, "")},
		{Name: "no empty line before the checkpoint", Note: strings.Replace(good, "\n\n", "\n", 1)},
		{Name: "CR LF", Note: strings.ReplaceAll(good, "\n", "\r\n")},
		{Name: "nothing", Note: ""},
	}
	for i := range cases {
		cases[i].Keys = vkeysOf(c.keys)
		_, _, err := checkTlogProof(cases[i].Note, verifiersOf(c.keys))
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", cases[i].Name)
		}
		cases[i].Reason = err.Error()
	}
	return cases, nil
}
