package main

import "fmt"

type cosignatureVector struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Vkey    string `json:"vkey"`
	Time    uint64 `json:"time"`
	Message string `json:"message"`
	Line    string `json:"line"`
	Refused string `json:"refused,omitempty"`
}

type policyVector struct {
	Name        string `json:"name"`
	Policy      string `json:"policy"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Notes       []struct {
		Name      string `json:"name"`
		Note      string `json:"note"`
		Satisfied bool   `json:"satisfied"`
	} `json:"notes,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// witnessFiles: cosignatures (section 14.1) and policies (section 14.2).
func witnessFiles(s *story) ([]file, error) {
	text := s.checkpoint(5).text()
	one, two := witnessOne(), witnessTwo()
	at := uint64(signedAt + 60)
	var lines []cosignatureVector
	for _, k := range []key{one, two} {
		l := k.line(text, at)
		if _, err := k.checkLine(text, l.signature); err != nil {
			return nil, err
		}
		message := must(signedMessage(k.verifier, text, at))
		lines = append(lines, cosignatureVector{k.algorithm.name, text, k.vkey(), at, hexOf(message), l.text(), ""})
	}
	refuse := func(name string, k key, text string, l line) error {
		if _, err := k.checkLine(text, l.signature); err == nil {
			return fmt.Errorf("%s: was accepted", name)
		}
		lines = append(lines, cosignatureVector{name, text, k.vkey(), 0, "", l.text(), "does not verify"})
		return nil
	}
	later := func(l line) line {
		signature := append([]byte{}, l.signature...)
		signature[7] ^= 1
		return line{l.name, l.id, signature}
	}
	for _, k := range []key{one, two} {
		if err := refuse("another time, "+k.algorithm.name, k, text, later(k.line(text, at))); err != nil {
			return nil, err
		}
		if err := refuse("another checkpoint, "+k.algorithm.name, k, s.checkpoint(6).text(), k.line(text, at)); err != nil {
			return nil, err
		}
	}
	if err := refuse("the text signed without its header", one, text, line{one.name, one.id(), join(u64(at), one.sign([]byte(text)))}); err != nil {
		return nil, err
	}

	policies := policiesOf(s, at)
	return []file{
		{"cosignatures.json", vectors{"Section 14.1. line: a signature line of this key under this text; message: what it signs, hex; refused: the line does not verify.", lines}},
		{"policies.json", vectors{"Section 14.2. notes: the story's checkpoint of 5 entries with some cosignatures, and whether log keys and quorum are satisfied. refused: not a policy file.", policies}},
	}, nil
}

func policiesOf(s *story, at uint64) []policyVector {
	point := s.at(5)
	text := s.checkpoint(5).text()
	one, two := witnessOne(), witnessTwo()
	stranger := newKey("witness.example/three", typeCosigner, fill(0x13))
	base := "log " + oldLogKey().vkey() + "\n"
	w1, w2 := "witness one "+one.vkey()+" https://one.example/\n", "witness two "+two.vkey()+"\n"
	logOnly := signNote(text, signedAt, oldLogKey())
	notes := []struct {
		name           string
		note           string
		log            bool
		hasOne, hasTwo bool
	}{
		{"no witness", point.note, true, false, false},
		{"witness one", point.note + one.line(text, at).text(), true, true, false},
		{"witness two", point.note + two.line(text, at).text(), true, false, true},
		{"both", point.note + one.line(text, at).text() + two.line(text, at).text(), true, true, true},
		{"one of them twice, and a stranger", point.note + one.line(text, at).text() + one.line(text, at+1).text() + stranger.line(text, at).text(), true, true, false},
		{"the log's Ed25519 line alone, and both", logOnly + one.line(text, at).text() + two.line(text, at).text(), true, true, true},
		{"no line of the log, and both", signNote(text, at, one, two), false, true, true},
	}
	good := func(name, policy string, quorum func(one, two bool) bool) policyVector {
		fingerprint := h256([]byte(policy))
		v := policyVector{Name: name, Policy: policy, Fingerprint: hexHash(fingerprint)}
		for _, n := range notes {
			v.Notes = append(v.Notes, struct {
				Name      string `json:"name"`
				Note      string `json:"note"`
				Satisfied bool   `json:"satisfied"`
			}{n.name, n.note, n.log && quorum(n.hasOne, n.hasTwo)})
		}
		return v
	}
	group := "group both all one two\n"
	bad := func(name, policy, why string) policyVector {
		return policyVector{Name: name, Policy: policy, Refused: why}
	}
	return []policyVector{
		good("no quorum", base+"quorum none\n", func(bool, bool) bool { return true }),
		good("one witness", base+w1+"quorum one\n", func(one, _ bool) bool { return one }),
		good("all of two", base+w1+w2+group+"quorum both\n", func(one, two bool) bool { return one && two }),
		good("any of two, with comments and blanks", "# a comment\n\n \t"+base+w1+w2+"group either any\tone  two \nquorum either\n", func(one, two bool) bool { return one || two }),
		good("two of a group and a witness", base+w1+w2+"group g 1 one\ngroup h 2 g two\nquorum h\n", func(one, two bool) bool { return one && two }),
		bad("no quorum line", base, "exactly one quorum line"),
		bad("two quorum lines", base+"quorum none\nquorum none\n", "exactly one quorum line"),
		bad("a quorum that is not defined", base+"quorum one\n", "no such name"),
		bad("a quorum defined later", base+"quorum one\n"+w1, "no such name yet"),
		bad("a group member that is not defined", base+w1+"group g any one two\nquorum g\n", "no such name"),
		bad("a threshold of 0", base+w1+"group g 0 one\nquorum g\n", "1 <= k <= n"),
		bad("a threshold above the members", base+w1+"group g 2 one\nquorum g\n", "1 <= k <= n"),
		bad("a group without members", base+w1+"group g any\nquorum g\n", "n >= 1"),
		bad("a name twice", base+w1+"witness one "+two.vkey()+"\nquorum one\n", "the name is taken"),
		bad("a witness twice", base+w1+"witness two "+one.vkey()+"\nquorum one\n", "the key is taken"),
		bad("a member twice", base+w1+"group g 2 one one\nquorum g\n", "a name once"),
		bad("a member of two groups", base+w1+"group g any one\ngroup h any one\ngroup i 2 g h\nquorum i\n", "a name once"),
		bad("a witness named none", base+"witness none "+one.vkey()+"\nquorum none\n", "the name is taken"),
		bad("an unknown word", base+"witnes one "+one.vkey()+"\nquorum none\n", "unknown word"),
		bad("a key that is none", "log relay.example.org/log+00000000+AAAA\nquorum none\n", "not a key"),
	}
}
