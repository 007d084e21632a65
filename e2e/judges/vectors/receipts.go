package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

type receiptVector struct {
	Name      string `json:"name"`
	JSON      string `json:"json"`
	Header    string `json:"header"`
	SignBytes string `json:"sign_bytes"`
	Leaf      string `json:"leaf"`
	Index     uint64 `json:"index"`
	Size      uint64 `json:"tree_size"`
	Root      string `json:"root"`
}

type refusedReceipt struct {
	Name   string `json:"name"`
	JSON   string `json:"json"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

type receiptContent struct {
	About    string `json:"about"`
	Identity string `json:"identity"`
	Vectors  any    `json:"vectors"`
}

// receiptOf makes the receipt of the story's transfer under one of its tree heads, unsigned.
func receiptOf(s *story, h head, sth any) object {
	leaves := s.log.leaves["sha3"][:h.size]
	i := s.transfer.index
	var path []any
	for _, one := range steps(uint64(i), h.size, sha3Tree.inclusion(i, leaves)) {
		path = append(path, object{"hash": one.Hash, "position": one.Position})
	}
	return object{
		"blob_hash": hexHash(s.transfer.blob), "ts": s.transfer.ts, "sector": s.transfer.sector, "relay_id": relayID,
		"retrieved_at": number(1767323050000), "tree_size_at_retrieval": number(5), "burn_confirmed": true,
		"claim": object{"index": number(3), "salt": hexHash(s.claimSalt)},
		"inclusion_proof": object{
			"leaf_hash": hexHash(leaves[i]), "leaf_index": number(int64(i)), "tree_size": integer{false, h.size},
			"audit_path": path, "root": hexHash(h.root), "sth": sth,
		},
	}
}

func signReceipt(identity key, receipt object) object {
	delete(receipt, "signature")
	receipt["signature"] = b64(identity.sign(must(canonical(receipt))))
	return receipt
}

// receiptError is why a receipt is refused, with the published machine code.
type receiptError struct{ code, text string }

func (e receiptError) Error() string { return e.text }

// checkReceipt is section 17.3, steps 1 to 5.
func checkReceipt(text string, identity verifier) error {
	value, err := strict([]byte(text))
	receipt, isObject := value.(object)
	if err != nil || !isObject {
		return receiptError{"unreadable", "not strict JSON of an object"}
	}
	proof, isProof := receipt["inclusion_proof"].(object)
	blob, isBlob := receipt["blob_hash"].(string)
	sector, isSector := receipt["sector"].(string)
	ts, isTs := receipt["ts"].(string)
	if !isProof || !isBlob || !isSector || !isTs {
		return receiptError{"unreadable", "a field is missing"}
	}
	signature, _ := receipt["signature"].(string)
	if signature == "" {
		return receiptError{"no_signature", "no signature"}
	}
	decoded, err := unB64(signature)
	bare := object{}
	for name, value := range receipt {
		if name != "signature" {
			bare[name] = value
		}
	}
	message, canonicalErr := canonical(bare)
	if err != nil || canonicalErr != nil || !identity.verify(message, decoded) {
		return receiptError{"signature_invalid", "the signature does not verify"}
	}
	leaf, _ := proof["leaf_hash"].(string)
	if leaf == "" {
		return receiptError{"inclusion_proof_missing_leaf_hash", "no leaf"}
	}
	if !isHex(blob) || !isHex(leaf) || unhex(leaf) != transferLeaf(unhex(blob), sector, ts) {
		return receiptError{"leaf_hash_mismatch", "blob hash, sector and time give another leaf"}
	}
	index, isIndex := proof["leaf_index"].(integer)
	size, isSize := proof["tree_size"].(integer)
	root, isRoot := proof["root"].(string)
	path, isPath := proof["audit_path"].([]any)
	if !isIndex || !isSize || !isRoot || !isPath || !isHex(root) {
		return receiptError{"inclusion_proof_invalid", "the proof's fields"}
	}
	if err := checkSteps(unhex(leaf), index.magnitude, size.magnitude, path, unhex(root)); err != nil {
		return receiptError{"inclusion_proof_invalid", err.Error()}
	}
	sth, isSth := proof["sth"].(object)
	if !isSth {
		return nil
	}
	if _, signed := sth["signature"]; signed {
		if err := checkHead(sth, identity); err != nil {
			return receiptError{"sth_signature_invalid", err.Error()}
		}
	}
	if sth["sha3_root"] != root || sth["tree_size"] != size {
		return receiptError{"sth_root_mismatch", "the tree head is for another root or size"}
	}
	return nil
}

func checkSteps(leaf hash, index, size uint64, path []any, root hash) error {
	var hashes []hash
	var named []step
	for _, one := range path {
		fields, _ := one.(object)
		text, _ := fields["hash"].(string)
		position, _ := fields["position"].(string)
		if !isHex(text) {
			return errors.New("a step is not a hash")
		}
		hashes, named = append(hashes, unhex(text)), append(named, step{text, position})
	}
	if err := sha3Tree.checkInclusion(leaf, index, size, hashes, root); err != nil {
		return err
	}
	for i, expected := range steps(index, size, hashes) {
		if named[i] != expected {
			return errors.New("a step names another side")
		}
	}
	return nil
}

func receiptFiles(s *story) ([]file, error) {
	identity := identityKey()
	var good []receiptVector
	add := func(name string, h head, receipt object) {
		signBytes := must(canonical(receipt))
		text := must(canonical(signReceipt(identity, receipt)))
		good = append(good, receiptVector{
			name, string(text), base64.RawURLEncoding.EncodeToString(text), string(signBytes),
			hexHash(s.log.entries[s.transfer.index].leaf), uint64(s.transfer.index), h.size, hexHash(h.root),
		})
	}
	without := func(receipt object, name string) object { delete(receipt, name); return receipt }
	add("as in a header: the tree head without its signature", s.heads[1], receiptOf(s, s.heads[1], s.heads[1].bare()))
	add("in the tree that ends with the transfer", s.heads[0], receiptOf(s, s.heads[0], s.heads[0].bare()))
	add("with the signed tree head", s.heads[1], receiptOf(s, s.heads[1], s.heads[1].signed()))
	add("without a tree head", s.heads[1], receiptOf(s, s.heads[1], nil))
	add("without a claim", s.heads[1], without(receiptOf(s, s.heads[1], s.heads[1].bare()), "claim"))
	more := receiptOf(s, s.heads[1], nil)
	more["field_of_tomorrow"] = object{"b": number(1), "a": []any{}}
	add("with a field that a verifier does not know, which the signature covers", s.heads[1], more)
	for _, v := range good {
		if err := checkReceipt(v.JSON, identity.verifier); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	refused, err := refusedReceipts(s)
	if err != nil {
		return nil, err
	}
	hexID := hexOf(identity.public)
	return []file{
		{"receipts.json", receiptContent{"Section 12.1. Of the story's first transfer. json: the receipt; header: as X-Paramant-Receipt carries it; sign_bytes: what the identity signs, as text; the rest: what it shows.", hexID, good}},
		{"receipts-refused.json", receiptContent{"Section 17.3, steps 1 to 5. code: the published machine code, or unreadable; reason: for people.", hexID, refused}},
	}, nil
}

func refusedReceipts(s *story) ([]refusedReceipt, error) {
	identity := identityKey()
	base := func() object { return receiptOf(s, s.heads[1], s.heads[1].bare()) }
	signed := func(change func(receipt, proof object)) string {
		receipt := base()
		change(receipt, receipt["inclusion_proof"].(object))
		return string(must(canonical(signReceipt(identity, receipt))))
	}
	after := func(change func(receipt, proof object)) string {
		receipt := signReceipt(identity, base())
		change(receipt, receipt["inclusion_proof"].(object))
		return string(must(canonical(receipt)))
	}
	firstStep := func(proof object) object { return proof["audit_path"].([]any)[0].(object) }
	leaves := s.log.leaves["sha3"]
	inner := sha3Tree.node(leaves[2], leaves[3])
	good := signed(func(object, object) {})
	cases := []refusedReceipt{
		{Name: "a field changed after signing", JSON: after(func(r, _ object) { r["burn_confirmed"] = false })},
		{Name: "a field added after signing", JSON: after(func(r, _ object) { r["more"] = true })},
		{Name: "the proof changed after signing", JSON: after(func(_, p object) { p["tree_size"] = number(6) })},
		{Name: "no signature", JSON: after(func(r, _ object) { delete(r, "signature") })},
		{Name: "a null signature", JSON: after(func(r, _ object) { r["signature"] = nil })},
		{Name: "a signature that is not base64", JSON: after(func(r, _ object) { r["signature"] = "!" })},
		{Name: "another key's signature", JSON: string(must(canonical(signReceipt(newKey(origin, typeMLDSA65, fill(9)), base()))))},
		{Name: "no proof", JSON: signed(func(r, _ object) { delete(r, "inclusion_proof") })},
		{Name: "no blob hash", JSON: signed(func(r, _ object) { delete(r, "blob_hash") })},
		{Name: "an empty leaf", JSON: signed(func(_, p object) { p["leaf_hash"] = "" })},
		{Name: "another blob", JSON: signed(func(r, _ object) { r["blob_hash"] = hexHash(h256([]byte("payload B"))) })},
		{Name: "another time", JSON: signed(func(r, _ object) { r["ts"] = publishedTs })},
		{Name: "another sector", JSON: signed(func(r, _ object) { r["sector"] = "legal" })},
		{Name: "an inner node as leaf", JSON: signed(func(_, p object) { p["leaf_hash"] = hexHash(inner) })},
		{Name: "another index", JSON: signed(func(_, p object) { p["leaf_index"] = number(3) })},
		{Name: "an index beyond the size", JSON: signed(func(_, p object) { p["leaf_index"] = number(5) })},
		{Name: "a step that names the other side", JSON: signed(func(_, p object) { firstStep(p)["position"] = "left" })},
		{Name: "a step missing", JSON: signed(func(_, p object) { p["audit_path"] = p["audit_path"].([]any)[1:] })},
		{Name: "a step in upper case", JSON: signed(func(_, p object) { firstStep(p)["hash"] = strings.ToUpper(firstStep(p)["hash"].(string)) })},
		{Name: "another root", JSON: signed(func(_, p object) { p["root"] = hexHash(fill(0)) })},
		{Name: "a tree head of another size", JSON: signed(func(_, p object) { p["sth"] = s.heads[0].bare() })},
		{Name: "a signed tree head of another size", JSON: signed(func(_, p object) { p["sth"] = s.heads[0].signed() })},
		{Name: "a tree head with a wrong signature", JSON: signed(func(_, p object) {
			sth := s.heads[1].signed()
			sth["signature"] = b64(s.heads[0].signature)
			p["sth"] = sth
		})},
		{Name: "a key twice", JSON: strings.Replace(good, `"burn_confirmed":true`, `"burn_confirmed":true,"burn_confirmed":true`, 1)},
		{Name: "a fraction", JSON: strings.Replace(good, `"retrieved_at":1767323050000`, `"retrieved_at":1767323050000.0`, 1)},
		{Name: "cut off", JSON: good[:len(good)-1]},
	}
	for i := range cases {
		err := checkReceipt(cases[i].JSON, identity.verifier)
		var refusal receiptError
		if !errors.As(err, &refusal) {
			return nil, fmt.Errorf("%s: was accepted", cases[i].Name)
		}
		cases[i].Code, cases[i].Reason = refusal.code, refusal.text
	}
	return cases, nil
}
