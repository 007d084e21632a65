package main

import (
	"errors"
	"fmt"
	"strings"
)

// head is a tree head of section 10, signed.
type head struct {
	relayID   string
	root      hash
	size      uint64
	millis    int64
	signature []byte
}

func (h head) bare() object {
	return object{"relay_id": h.relayID, "sha3_root": hexHash(h.root), "timestamp": number(h.millis), "tree_size": integer{false, h.size}, "version": number(1)}
}

func (h head) signed() object {
	fields := h.bare()
	fields["signature"] = b64(h.signature)
	return fields
}

func signHead(identity key, root hash, size uint64, millis int64) head {
	h := head{relayID, root, size, millis, nil}
	h.signature = identity.sign(must(canonical(h.bare())))
	return h
}

func (h head) check(identity verifier) error {
	return checkHead(h.signed(), identity)
}

// checkHead is section 10.1.
func checkHead(fields object, identity verifier) error {
	signature, isSignature := fields["signature"].(string)
	root, isRoot := fields["sha3_root"].(string)
	_, isRelay := fields["relay_id"].(string)
	_, isTime := fields["timestamp"].(integer)
	size, isSize := fields["tree_size"].(integer)
	version, isVersion := fields["version"].(integer)
	if len(fields) != 6 || !isSignature || !isRoot || !isRelay || !isTime || !isSize || !isVersion || size.negative {
		return errors.New("not the six keys of a tree head")
	}
	if version != number(1) {
		return errors.New("another version")
	}
	if !isHex(root) {
		return errors.New("the root is not 64 hex digits")
	}
	decoded, err := unB64(signature)
	if err != nil || strings.ContainsAny(signature, "\r\n") {
		return errors.New("the signature is not base64")
	}
	bare := object{}
	for name, value := range fields {
		if name != "signature" {
			bare[name] = value
		}
	}
	message, err := canonical(bare)
	if err != nil {
		return err
	}
	if !identity.verify(message, decoded) {
		return errors.New("the signature does not verify")
	}
	return nil
}

// headChain is section 10.3.
func headChain(heads []head) hash {
	var chain hash
	for _, h := range heads {
		chain = h256(chain[:], must(canonical(h.signed())))
	}
	return chain
}

type headVector struct {
	STH       string `json:"sth"`
	SignBytes string `json:"sign_bytes"`
	Chain     string `json:"chain"`
}

type headContent struct {
	About    string       `json:"about"`
	Identity string       `json:"identity"`
	Vectors  []headVector `json:"vectors"`
	Anchors  []string     `json:"anchors"`
}

type refusedHeads struct {
	About    string          `json:"about"`
	Identity string          `json:"identity"`
	Vectors  []refusedVector `json:"vectors"`
}

func headFiles(s *story) ([]file, error) {
	identity := identityKey()
	content := headContent{
		About:    "Section 10. The story's (story.json). sth: canonical JSON of the six keys; sign_bytes: what is signed, as text; chain: over this head and all before it, hex. anchors: the sth_anchor entries.",
		Identity: hexOf(identity.public),
	}
	for i, h := range s.heads {
		content.Vectors = append(content.Vectors, headVector{string(must(canonical(h.signed()))), string(must(canonical(h.bare()))), hexHash(headChain(s.heads[:i+1]))})
	}
	for _, e := range s.log.entries {
		if e.kind == "sth_anchor" {
			content.Anchors = append(content.Anchors, string(e.text))
		}
	}

	change := func(name string, value any) string {
		fields := s.heads[0].signed()
		if value == nil {
			delete(fields, name)
		} else {
			fields[name] = value
		}
		return string(must(canonical(fields)))
	}
	resigned := func(name string, value any) string {
		fields := s.heads[0].bare()
		fields[name] = value
		fields["signature"] = b64(identity.sign(must(canonical(fields))))
		return string(must(canonical(fields)))
	}
	signature := b64(s.heads[0].signature)
	cases := []refusedVector{
		{Name: "another size", Text: change("tree_size", number(4))},
		{Name: "another time", Text: change("timestamp", number(1767323045679))},
		{Name: "another root", Text: change("sha3_root", hexHash(fill(0)))},
		{Name: "another relay", Text: change("relay_id", "https://relay.example.net")},
		{Name: "version 2, signed", Text: resigned("version", number(2))},
		{Name: "a root in upper case, signed", Text: resigned("sha3_root", strings.ToUpper(hexHash(s.heads[0].root)))},
		{Name: "a seventh key, signed", Text: resigned("pk_hash", hexHash(fill(0)))},
		{Name: "no relay_id", Text: change("relay_id", nil)},
		{Name: "no signature", Text: change("signature", nil)},
		{Name: "a size as text, signed", Text: resigned("tree_size", "3")},
		{Name: "a negative size, signed", Text: resigned("tree_size", number(-3))},
		{Name: "the signature of the next head", Text: change("signature", b64(s.heads[1].signature))},
		{Name: "a signature in base64url", Text: change("signature", strings.NewReplacer("+", "-", "/", "_").Replace(signature))},
		{Name: "a signature cut off", Text: change("signature", signature[:len(signature)-4])},
		{Name: "an empty signature", Text: change("signature", "")},
		{Name: "a key twice", Text: strings.Replace(string(must(canonical(s.heads[0].signed()))), `"version":1`, `"version":1,"version":1`, 1)},
	}
	for i := range cases {
		value, err := strict([]byte(cases[i].Text))
		if err == nil {
			err = checkHead(value.(object), identity.verifier)
		}
		if err == nil {
			return nil, fmt.Errorf("%s: was accepted", cases[i].Name)
		}
		cases[i].Reason = err.Error()
	}
	return []file{
		{"sth.json", content},
		{"sth-refused.json", refusedHeads{"Section 10.1, with this identity. reason: for people.", hexOf(identity.public), cases}},
	}, nil
}
